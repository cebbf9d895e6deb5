"""Whoever acts in a trial: Claude, a scripted policy, a replay. Runs in the process that plays.

`model` says what a model is; `named` finds the one that ``--model`` names. Claude's side of the network is `claude`,
with `limiter`, `api_limits`, `message` and `too_long`; `policy` and `replay` need no network. Nothing here knows
pytest.
"""

from __future__ import annotations

from pytest_rltask.models.model import Model, ModelFault, Player, Reply, Request, Start, seeded_rng

__all__ = ["Model", "ModelFault", "Player", "Reply", "Request", "Start", "seeded_rng"]
