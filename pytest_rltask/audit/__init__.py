"""``--audit``: checks, without a model or a key, that a task is sound before anything is paid for.

Each marked test yields one item a check instead of one a run: the solver passes, doing nothing and every cheat
fail, the grader says the same twice, the prompt states what is demanded and shows no answer, nothing is left
behind. ``items`` makes the items, ``checks`` says which checks there are, ``plays`` how an episode is played and
watched. Where RFC 008 of OpenEnv (environment auto-validation) has a check of the same intent, ours has its name.
"""

from __future__ import annotations

from pytest_rltask.audit.items import AuditItems, AuditParam, run_check, runs_agents_code

__all__ = ["AuditItems", "AuditParam", "run_check", "runs_agents_code"]
