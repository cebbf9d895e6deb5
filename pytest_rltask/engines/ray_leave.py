"""One limiter for each model of a Ray cluster: an actor that lends places of requests to the actors that play trials.

All it does is in `models/leases`; this is the way there. It runs on the driver's node, where the run is, and takes no
CPU of the cluster's. Should it die, Ray starts it anew, and it asks the players what they hold.
"""

from __future__ import annotations

import os
from typing import Any

from pytest_rltask.models import Model
from pytest_rltask.models.leased import LeasedLimiter
from pytest_rltask.models.leases import Ask, Lease, Lessor
from pytest_rltask.models.named import is_paid, make_model, parse_model
from pytest_rltask.models.prices import Prices

__all__ = ["Leave", "leased", "model_on_node", "start_leave"]


class Leave:
    """The limiters of all models; an async actor, so that asks which wait for places hold up no others."""

    def __init__(self) -> None:
        self._lessors: dict[str, Lessor] = {}

    async def ask(self, model: str, ask: Ask) -> Lease:
        """Take in what a process says of its requests to a model, and lend it places."""
        if model not in self._lessors:
            self._lessors[model] = Lessor()
        return await self._lessors[model].ask(ask)

    async def pid(self) -> int:
        """Return the process that it runs in."""
        return os.getpid()


def start_leave() -> Any:
    """Start the actor on the node of this process, which is the driver, and return its handle."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(Leave).options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote()


def leased(leave: Any, model: str, process: str) -> LeasedLimiter:
    """Return what lets the requests of one process to a model start.

    Args:
        leave: the handle of the actor.
        model: its name.
        process: a name that no other process has, its predecessors included.
    """

    async def ask(ask: Ask) -> Lease:
        lease: Lease = await leave.ask.remote(model, ask)
        return lease

    return LeasedLimiter(ask, process)


def model_on_node(
    name: str, reply_timeout_s: float | None, prices: Prices, news: Any, *, leave: Any, process: str
) -> Model:
    """Make the model of a name in a process that plays.

    Args:
        name: as ``--model`` names it.
        reply_timeout_s: seconds that one reply of an API may take; None: as many as it may by default.
        prices: what tokens of models cost that the table lacks.
        news: where it is told who keeps trials waiting.
        leave: the handle of the actor; None: the model's requests need nobody's leave.
        process: as of `leased`.
    """
    limiter = leased(leave, name, process) if leave and is_paid(name) else None
    return make_model(parse_model(name), reply_timeout_s=reply_timeout_s, news=news, prices=prices, limiter=limiter)
