"""The turn loop: a model and an episode alternate until the model stops, the episode is done or a limit fires."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from pytest_rltask.models import Model, ModelFault, Player, Reply, Request, Start
from pytest_rltask.run.record import Record, RequestLog
from pytest_rltask.task import Policy
from pytest_rltask.trial.asking import log_of
from pytest_rltask.trial.guard import charged, timed
from pytest_rltask.trial.opening import LayingOut
from pytest_rltask.trial.turns import Turns

__all__ = ["Conversation", "Paid", "Turned"]

Paid = Callable[[Record, RequestLog], Awaitable[None]]
"""Takes note of what a request cost before its trial has ended, in case its process does not live to tell."""
Turned = Callable[[Record], None]
"""Takes note of what was said in a trial that goes on: its prompt, then each turn once its results are in."""

REPLY_GRACE_S = 60.0
"""Seconds past the trial's time limit that a reply under way has to arrive; at most as long as the limit itself."""


class Conversation:
    """A model at an episode.

    Args:
        turns: the episode's side.
        policies: the scripted policies that the task ships.
        paid: called with the record and each of its requests that cost something, or may have, once it is answered.
        turned: called with the record after the prompt and after each turn.
        laying_out: of the episode, done by the time that it is shown a reply; None: it is.
    """

    def __init__(
        self,
        turns: Turns,
        policies: Mapping[str, Policy],
        paid: Paid | None = None,
        turned: Turned | None = None,
        laying_out: LayingOut | None = None,
    ) -> None:
        self.record = turns.record
        self._laying_out = laying_out
        self._turns = turns
        self._policies = policies
        self._paid = paid
        self._turned = turned or (lambda record: None)

    async def hold(self, model: Model, variant: str = "") -> None:
        """Hold the conversation; the record tells why it ended.

        Args:
            model: whom to hold it with.
            variant: the parameters of the trial's test, as its id names them.

        Raises:
            TrialFault: something other than the model failed.
        """
        turns = self._turns
        self._turned(self.record)
        start = Start(
            task=self.record.task,
            seed=self.record.seed,
            prompt=turns.prompt,
            tools=tuple(turns.tools),
            policies=self._policies,
            history=turns.history,
            run=turns.worker.run,
            variant=variant,
        )
        with charged():
            player = model.player(start)
        if self._laying_out is not None:
            self._laying_out.begin()
        stop = None
        while stop is None:
            reply = await self._ask(player)
            if self._laying_out is not None:
                turns.lost_s += await self._laying_out.done()
            stop = await turns.answer(reply)
            self._turned(self.record)

    async def _ask(self, player: Player) -> Reply:
        record = self.record
        # A reply under way at the deadline may arrive, and the limit then fires: only an API that stays silent is
        # at fault. Time lost to faults and limits of the API is not the model's.
        limits = self._turns.limits
        deadline = self._turns.deadline + min(limits.wall_s, REPLY_GRACE_S)
        request = Request(
            record.system,
            record.tools,
            record.messages,
            limits.reply_tokens,
            deadline,
            extends=bool(record.requests),
            media=record.media,
        )
        try:
            with timed(record, "model"), charged():
                reply = await self._paid_for(player, request)
        except asyncio.CancelledError:
            record.requests += [log_of(estimate()) for estimate in request.under_way]
            raise
        self._turns.lost_s += reply.lost_s
        await self._note(log_of(reply))
        return reply

    async def _paid_for(self, player: Player, request: Request) -> Reply:
        """Return a reply; if there is none, log what was billed all the same."""
        try:
            return await player.reply(request)
        except ModelFault as fault:
            if fault.billed:
                await self._note(log_of(fault.billed))
            raise

    async def _note(self, request: RequestLog) -> None:
        self.record.requests.append(request)
        if self._paid is not None and request.cost_usd != 0:
            await self._paid(self.record, request)  # before a tool runs, which may kill the process
