"""Whoever acts in a trial: Claude, a scripted policy, a replay. Runs in the process that plays.

`model` says what a model is; `named` finds the one that ``--model`` names. Claude's side of the network is `claude`:
`api_faults` says what an error means (`hopeless`, `too_long`, `reach`: the wordings), `limiter` and `api_limits` how
fast to ask, `contact` who keeps trials waiting, `message` what an answer may be, `settings` what of the environment can
be sent, `model_settings` what is set of a model (`refused`: what a server does not take), `prices` what it costs.
`servers`, `lenient` and `clouds` are about servers of other makes. `policy` and `replay` need no network, `human`
(`typed_calls`) a terminal. Nothing here knows pytest.
"""

from __future__ import annotations

from pytest_rltask.models.model import Model, ModelFault, Player, Reply, Request, Start, seeded_rng

__all__ = ["Model", "ModelFault", "Player", "Reply", "Request", "Start", "seeded_rng"]
