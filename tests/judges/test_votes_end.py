"""Votes that are asked at once end together: none goes on, or is paid for, behind a trial that has ended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_rltask import Criterion, Grade, RubricJudge
from pytest_rltask.models import ModelFault
from pytest_rltask.models.model import Reply, Request
from tests.judges.asking import Answering, Talk, TalkEpisode, played, says

RUBRIC = RubricJudge("customer", [Criterion("clear", "It is clear.")], votes=3)


async def by_rubric(episode: TalkEpisode) -> Grade:
    marks = await RUBRIC.mark(episode, "hello")
    return Grade(marks.score, threshold=0.5)


async def by_gather(episode: TalkEpisode) -> Grade:
    """Ask as an author may, who does not think of the others."""
    answers = await asyncio.gather(*(episode.ask("customer", f"Is it good? {n}") for n in range(3)))
    return Grade(float(len(answers)), threshold=1.0)


class Server:
    """Refuses the first request, and answers no other until it is given up."""

    def __init__(self) -> None:
        self.asked, self.given_up, self.at_the_end = 0, 0, 0

    def __call__(self, request: Request) -> Any:
        self.asked += 1
        return self._refused() if self.asked == 1 else self._late()

    async def _refused(self) -> Reply:
        while self.asked < 3:
            await asyncio.sleep(0)
        raise ModelFault("HTTP 400: no", kind="api")

    async def _late(self) -> Reply:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        return says()


class Model(Answering):
    """Notes what was given up when the trial had ended, not when its event loop had."""

    async def aclose(self) -> None:
        await asyncio.sleep(0)
        self.answer.at_the_end = self.answer.given_up  # type: ignore[attr-defined]


@pytest.mark.parametrize("grading", [by_rubric, by_gather])
@pytest.mark.filterwarnings("error")
def test_a_vote_that_fails_ends_the_others_with_the_trial(grading: Any):
    server = Server()

    record = played(Talk(grading=grading), model=lambda name: Model(server))

    assert (record.outcome, server.asked, server.at_the_end) == ("errored", 3, 2)
