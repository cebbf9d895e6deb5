"""Who answers for the judges of a task: by its own word, by ``--judge``, or by who plays.

A judge stands for a model, for its script (``policy:scripted``), or for what a recorded trial was answered: where a
policy or a replay plays no model is asked, and no key needed, unless ``--judge`` says whom to ask.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pytest_rltask.models.named import ModelName, is_paid, missing_key, parse_model
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.task import Task

__all__ = [
    "ANY",
    "RECORDED",
    "SCRIPTED",
    "is_paid_trial",
    "judges_of",
    "missing_judge_key",
    "parse_judges",
    "recorded",
    "unanswered",
]

SCRIPTED = "policy:scripted"
RECORDED = "recorded"
"""The answers are those of the trial that is replayed; behind a colon, those of this model alone."""
ANY = ""
"""Stands for all judges of which ``--judge`` names none."""
_NAMED = re.compile(r"([A-Za-z_][\w.-]*)=(.+)", re.DOTALL)


def parse_judges(words: Iterable[str]) -> dict[str, str]:
    """Return what ``--judge`` says, by judge; one that is not named stands for all.

    Raises:
        ValueError: it names no model; the message says what can be named.

    Example:
        >>> parse_judges(["customer=claude-haiku-5-5@effort=low", "policy:scripted"])
        {'customer': 'claude-haiku-5-5@effort=low', '': 'policy:scripted'}
    """
    found: dict[str, str] = {}
    for word in words:
        match = _NAMED.fullmatch(word)
        judge, model = (match[1], match[2]) if match else (ANY, word)
        found[judge] = _checked(model)
    return found


def _checked(model: str) -> str:
    if model == SCRIPTED:
        return model
    named = parse_model(model)
    if not named.is_remote:
        raise ValueError(f"{model!r} is no judge; write claude-..., {SCRIPTED}, or JUDGE=MODEL for one of several")
    return named.name


def judges_of(task: Task, player: ModelName | None, chosen: Mapping[str, str], *, is_typed: bool) -> dict[str, str]:
    """Return who answers for each judge of a task.

    Args:
        task: that declares them.
        player: who plays; None: whoever acts in an environment.
        chosen: what ``--judge``, or the ini file, says.
        is_typed: whether it was typed: then it holds for policies and replays as well, which ask no model otherwise.

    Raises:
        ValueError: a judge's model names none.
    """
    instead = {"policy": SCRIPTED, "replay": RECORDED}.get(player.kind if player else "", "")
    found = {}
    for name, judge in task.judges.items():
        told = chosen.get(name) or chosen.get(ANY) or ""
        found[name] = told if told and (is_typed or not instead) else instead or _checked(judge.model)
    return found


def unanswered(task: Task, judges: Mapping[str, str], name: str) -> str:
    """Say which judge is to answer by a script that it does not have; empty if none is."""
    for judge, model in judges.items():
        if model == SCRIPTED and task.judges[judge].scripted is None:
            return (
                f"task {name}: its judge {judge!r} has no script, and nobody else may answer here: write "
                f'judges = {{"{judge}": Judge("{task.judges[judge].model}", scripted=...)}}, or ask a model: '
                f"--judge {task.judges[judge].model}"
            )
    return ""


def missing_judge_key(task: str, judge: str, model: str, environment: Mapping[str, str]) -> str | None:
    """Say which key a judge lacks, and what to do; None if it needs none, or has it."""
    if not is_paid(model) or not (needed := missing_key(parse_model(model), environment, ())):
        return None
    if "needs an API key" in needed:
        needed = f"needs an API key: set ANTHROPIC_API_KEY, or have its script answer: --judge {SCRIPTED}"
    else:
        needed = needed.partition(": ")[2]
    return f"task {task}: its judge {judge or model} ({model}) {needed}"


def recorded(judges: Mapping[str, str]) -> dict[str, str]:
    """Return judges as they answer where a trial is graded anew: as recorded, if they are who they were; scripts do.

    Example:
        >>> recorded({"grader": "claude-haiku-5-5", "customer": "policy:scripted"})
        {'grader': 'recorded:claude-haiku-5-5', 'customer': 'policy:scripted'}
    """
    return {name: model if model in (SCRIPTED, RECORDED) else f"{RECORDED}:{model}" for name, model in judges.items()}


def is_paid_trial(trial: PlannedTrial) -> bool:
    """Say whether a trial costs anything: by who plays it, or by a judge."""
    return is_paid(trial.model) or any(map(is_paid, trial.judges.values()))
