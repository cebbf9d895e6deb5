"""What each run of a task is worth: that a model can act in it, and that another seed is another instance.

That seeds differ is shown by any one thing that does: what an episode opens with, what it hides, how it grades
silence. Where all these are the same, the best policy's calls of one seed are made again on the others: whatever is
then heard or graded differently is the episode's doing and not the policy's. A seed that is merely quoted is no
difference, nor is what the same seed, played again, says differently.
"""

from __future__ import annotations

import json
import re
from typing import Any

from pytest_rltask.audit.case import Case, Unsound
from pytest_rltask.audit.omissions import toolless
from pytest_rltask.audit.plays import Play
from pytest_rltask.run.record import Record

__all__ = ["seeds_differ", "tools_are_offered"]


def tools_are_offered(case: Case) -> None:
    """The episode has a tool."""
    if not case.open(case.seed).tools:
        raise Unsound("A trial would be nothing but talk.", f"{toolless(type(case.task))}.")


def seeds_differ(case: Case) -> None:
    """Episodes of different seeds are not all the same."""
    if len({_opening(case.open(seed)) for seed in case.seeds}) > 1:
        return
    if len({_silence(case.play("null", seed)) for seed in case.seeds}) > 1 or _calls_tell_apart(case):
        return
    raise Unsound(
        f"The seeds {', '.join(map(str, case.seeds))} open the same episode: same prompt, tools, hidden values and "
        f"grades, and the calls of the policy {case.player} are answered alike.",
        "Draw the data from the seed, since runs of one instance are no sample of the task; or, if that is meant, "
        "write `needs_seed: ClassVar = False` in the task.",
        case.play(case.player, case.seed).record,
    )


def _calls_tell_apart(case: Case) -> bool:
    """Say whether the calls that a policy made on the first seed are answered or graded otherwise on another."""
    if case.player == "null":
        return False
    first, *others = case.seeds
    played = case.play(case.player, first)
    before, again = _answers(played), _answers(case.repeat(played, first))
    certain = {part: said for part, said in before.items() if again.get(part) == said}
    return any(certain.items() - _answers(case.repeat(played, seed)).items() for seed in others)


def _opening(record: Record) -> str:
    """Return what an episode opens with."""
    return _masked([record.system, record.messages[0], record.tools], record.seed)


def _silence(play: Play) -> str:
    """Return what an episode hides, and how it grades who does nothing."""
    return json.dumps([_hidden(play), _grade(play)])


def _answers(play: Play) -> dict[str, str]:
    """Return what was answered in a conversation, message by message, what was hidden, and the grade."""
    told = {
        f"message {number}": _masked(message, play.record.seed)
        for number, message in enumerate(play.record.messages)
        if message["role"] == "user"
    }
    return {**told, "hidden": _hidden(play), "grade": _grade(play)}


def _hidden(play: Play) -> str:
    return _masked({name: _listed(value) for name, value in play.hidden.items()}, play.record.seed)


def _listed(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value  # an array's own text leaves out its middle


def _grade(play: Play) -> str:
    grade = play.grade
    return "none" if grade is None else repr([float(grade.score), grade.passed, grade.cheated, grade.label])


def _masked(said: object, seed: int) -> str:
    """Return something as text in which its own seed cannot be read."""
    return re.sub(rf"(?<!\d){seed}(?!\d)", "(seed)", json.dumps(said, sort_keys=True, default=repr))
