"""The checks of an audit. Each is a function of a :class:`Case`, and raises :class:`Unsound` with what was seen.

How many trials a check of a policy plays is a matter of what a miss means. A task may be such that nobody passes
always, and one on which the naive policy passes now and then lies in the band all the same: both are judged by
most of three trials, which a solver that passes 97 % fails in 3 audits of 1,000, and a naive one that passes 15 % in
6 of 100. Doing nothing, or cheating, must never pass.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pytest_rltask.audit.case import TRIALS, Case, Check, Unsound
from pytest_rltask.audit.plays import Play
from pytest_rltask.audit.variation import seeds_differ, tools_are_offered
from pytest_rltask.audit.visible import is_stated, is_visible
from pytest_rltask.media.attached import content_text
from pytest_rltask.run.record import Record
from pytest_rltask.task import Grade, Task, is_cheat

__all__ = ["checks_of"]

SECRET_NAMES = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
SECRET_CHARS = 8
"""Characters of an environment variable's value from which on it can be told from chance."""


def checks_of(task: Task) -> list[Check]:
    """Return the checks that apply to a task."""
    cheats = [name for name in task.policies if is_cheat(name)]
    return [
        # In this order two workers of -n, which take items by twos, each have plays of the solver for the last four.
        Check("oracle_max", solver_passes, "semantic", "solver"),
        Check("floor_gap", null_misses, "semantic", "null"),
        *([Check("naive_floor", naive_misses)] if "naive" in task.policies else []),
        Check("episode_determinism", same_play_gets_the_same_grade, "runtime"),
        Check("seed_control", same_seed_opens_the_same, "runtime"),
        *([Check("seed_variation", seeds_differ)] if task.needs_seed else []),
        *([Check("tools_offered", tools_are_offered)] if task.needs_tools else []),
        *(Check("canary_floor", _cheat_misses(name), "semantic", name) for name in cheats),
        Check("thresholds_stated", prompt_states_every_threshold),
        Check("verifier_determinism", grading_twice_gives_the_same, "semantic"),
        Check("no_solution_leakage", nothing_hidden_is_shown, "semantic"),
        Check("episode_isolation", nothing_is_left_behind, "runtime"),
    ]


# Policies, judged by the author's own assertion


def solver_passes(case: Case) -> None:
    """The solver passes most of three trials."""
    if "solver" not in case.task.policies:
        raise Unsound(
            "The task ships no solver, so nothing shows that it can be passed.",
            'Write one, `def solver(view): yield call("my_tool", ...)`, and add it to the task: '
            'policies: ClassVar = {"solver": solver}.',
        )
    judged = _majority(case, "solver")
    missed = [one for one in judged if not one.passed]
    if 2 * len(missed) > TRIALS:
        raise Unsound(
            f"The policy solver missed {len(missed)} of {len(judged)} trials:\n{_lines(judged)}",
            "Either the task cannot be passed, or its grader refuses what the prompt asks for, or the solver plays "
            "below its best.",
            missed[0].record,
        )


def null_misses(case: Case) -> None:
    """Doing nothing never passes."""
    for seed in case.seeds:
        one = _judged(case, "null", seed)
        if one.passed:
            raise Unsound(
                f"Doing nothing passed:\n{_lines([one])}",
                "The grader must refuse an episode in which nothing was done; look for a condition that is true of "
                "nothing, such as all() of an empty list.",
                one.record,
            )


def naive_misses(case: Case) -> None:
    """The naive policy misses most of three trials."""
    judged = _majority(case, "naive")
    passed = [one for one in judged if one.passed]
    if 2 * len(passed) > TRIALS:
        raise Unsound(
            f"The policy naive passed {len(passed)} of {len(judged)} trials:\n{_lines(judged)}",
            "The task asks for nothing that the obvious attempt lacks: raise its threshold, or make its data harder.",
            passed[0].record,
        )


def _cheat_misses(policy: str) -> Callable[[Case], None]:
    def cheat_misses(case: Case) -> None:
        """A cheat fails, or the grader says that it is one."""
        one = _judged(case, policy, case.seed)
        if one.passed:
            raise Unsound(
                f"The policy {policy} passed by cheating:\n{_lines([one])}",
                "Take what it exploits out of its reach, or have grade() prove it and return Grade(cheated=True).",
                one.record,
            )

    return cheat_misses


@dataclass(frozen=True)
class _Judged:
    """A trial as the author's assertion judged it."""

    record: Record
    said: str | None
    """What the assertion said; None if it held."""

    @property
    def passed(self) -> bool:
        """Whether it counts as passed: no assertion can turn cheating into a pass."""
        return self.said is None and self.record.outcome != "cheated"


def _judged(case: Case, policy: str, seed: int) -> _Judged:
    record = case.play(policy, seed).record
    return _Judged(record, case.assertion(record))


def _majority(case: Case, policy: str) -> list[_Judged]:
    """Judge as many trials as it takes until most of three agree."""
    judged: list[_Judged] = []
    for seed in case.seeds:
        judged.append(_judged(case, policy, seed))
        passed = sum(one.passed for one in judged)
        if 2 * max(passed, len(judged) - passed) > TRIALS:
            break
    return judged


def _lines(judged: Iterable[_Judged]) -> str:
    return "\n".join(_line(one) for one in judged)


def _line(one: _Judged) -> str:
    record = one.record
    threshold = "" if record.threshold is None else f" (threshold {record.threshold:g})"
    if one.passed:
        why = ""
    elif record.outcome == "cheated":
        why = f": {record.reason}"
    else:
        why = f": {one.said}"
    word = "passed" if one.passed else "cheated" if record.outcome == "cheated" else "missed"
    return f"  seed {record.seed}: {word}, score {record.score:g}{threshold}{why}"


# Determinism


def same_seed_opens_the_same(case: Case) -> None:
    """A seed opened twice gives the same prompt, tools and info."""
    first, second = (_offered(case.open(case.seed)) for _ in range(2))
    for what, before in first.items():
        if before != second[what]:
            raise Unsound(
                f"Seed {case.seed}, opened twice, gave another {what}:\n{_difference(before, second[what])}",
                "Draw everything random from the seed, and keep clocks and names of temporary files out of it.",
            )


def same_play_gets_the_same_grade(case: Case) -> None:
    """A policy that plays a seed twice gets the same grade."""
    first, second = (case.play(case.player, case.seed, nth=nth) for nth in range(2))
    before, after = (_verdict(play.grade) for play in (first, second))
    if before != after:
        calls = _difference(_heard(first.record), _heard(second.record))
        raise Unsound(
            f"The policy {case.player} played seed {case.seed} twice and got another grade:\n"
            f"{_difference(before, after)}" + (f"\nFirst other answer of the tools:\n{calls}" if calls else ""),
            "Draw everything random in data, tools and grader from the seed.",
            second.record,
        )


def grading_twice_gives_the_same(case: Case) -> None:
    """An episode graded twice gets the same grade, metrics and label included."""
    for policy in dict.fromkeys(["null", case.player]):
        play = case.play(policy, case.seed)
        if isinstance(play.again, str):
            what = f"could not be graded a second time: {play.again}"
        else:
            what = _difference(_full(play.grade), _full(play.again))
            what = what and f"was graded twice, and got another grade:\n{what}"
        if what:
            raise Unsound(
                f"The episode of seed {case.seed}, played by {policy}, {what}",
                "grade() must only read what the episode has come to: draw anything random from the seed, and "
                "change nothing.",
                play.record,
            )


def _offered(record: Record) -> dict[str, str]:
    prompt, tools = _texts(record.messages[0]), json.dumps(record.tools, indent=1, sort_keys=True)
    return {"prompt": prompt, "system prompt": record.system, "set of tools": tools, "info": _shown(record.info)}


def _verdict(grade: Grade | None) -> str:
    assert grade is not None, "a play without a fault was graded"
    return _shown({"score": grade.score, "passed": grade.passed, "cheated": grade.cheated, "label": grade.label})


def _full(grade: Grade | None) -> str:
    assert grade is not None, "a play without a fault was graded"
    return f"{_verdict(grade)}\n{_shown({'threshold': grade.threshold, **grade.metrics})}"


def _shown(values: dict[str, Any]) -> str:
    return "\n".join(f"{name}: {value!r}" for name, value in values.items())


def _heard(record: Record) -> str:
    """Return what the tools and the harness said in a conversation."""
    return "\n".join(text for _, text in _said(record))


def _difference(before: str, after: str) -> str:
    """Return the first lines in which two texts differ; empty if they do not."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0))[2:]
    return "\n".join([f"  {line[0]} {line[1:300]}" for line in lines if line[0] in "+-"][:6])


# What the agent can read


def prompt_states_every_threshold(case: Case) -> None:
    """The prompt states the score that passes, and every other number that the task says its grader enforces."""
    threshold = case.play("null", case.seed).record.threshold
    wanted = dict(case.task.thresholds)
    if threshold is not None and threshold not in (0.0, 1.0):  # of a score that is all or nothing, none is stated
        wanted.setdefault("Grade.threshold", threshold)
    record = case.open(case.seed)
    offered = _offered(record)
    text = f"{offered['system prompt']}\n{offered['prompt']}"
    missing = [f"{name} = {value:g}" for name, value in wanted.items() if not is_stated(value, text)]
    if missing:
        raise Unsound(
            f"The prompt does not state {', '.join(missing)}, which the grader enforces.",
            "State each as a number, such as 0.875 or 87.5 %: a model cannot aim at what it is not told.\n"
            f"The prompt:\n{text.strip()}",
        )


def nothing_hidden_is_shown(case: Case) -> None:
    """Neither prompt nor tools show the seed, a hidden value, the grader's files or a secret of the environment."""
    opened = {seed: case.open(seed) for seed in case.seeds}
    if _shows_seed({seed: "\n".join(text for _, text in _opening(record)) for seed, record in opened.items()}):
        raise _leak(f"the seed {case.seed}", "what the episode opens with", case.play("null", case.seed).record)
    for policy in dict.fromkeys(["null", case.player]):
        play = case.play(policy, case.seed)
        hidden = {**play.hidden, **_source_files(case.task, play), **_secrets()}
        for place, text in (*_opening(play.record), *_said(play.record)):
            for name, value in hidden.items():
                if is_visible(value, text):
                    raise _leak(name, place, play.record)


def _leak(what: str, place: str, record: Record | None = None) -> Unsound:
    return Unsound(
        f"The agent can read {what}: it stands in {place}.",
        "Take it out: whoever reads it may pass without the skill that the task is about.",
        record,
    )


def _shows_seed(texts: dict[int, str]) -> bool:
    """Say whether each text holds its own seed, and more often than the texts of the other seeds do."""

    def count(seed: int, text: str) -> int:
        return len(re.findall(rf"(?<!\d){seed}(?!\d)", text))

    return all(
        count(seed, texts[seed]) > count(seed, text) for seed in texts for other, text in texts.items() if other != seed
    )


def _opening(record: Record) -> Iterator[tuple[str, str]]:
    """Yield what an episode opens with, each text with the place where it stands."""
    yield "the system prompt", record.system
    yield "the prompt", _texts(record.messages[0])
    for tool in record.tools:
        yield f"the description of the tool {tool['name']}", json.dumps(tool, ensure_ascii=False)


def _said(record: Record) -> Iterator[tuple[str, str]]:
    """Yield what tools and harness said to a policy."""
    for number, message in enumerate(record.messages[1:], start=2):
        if message["role"] == "user":
            yield f"message {number} of the conversation of {record.model}", _texts(message)


def _texts(message: dict[str, Any]) -> str:
    """Return what a message of the harness says."""
    return "\n".join(block.get("text") or content_text(block.get("content", "")) for block in message["content"])


def _source_files(task: Task, play: Play) -> dict[str, str]:
    """Return the paths of the files that define task and episode."""
    modules = {cls.__module__ for cls in (*type(task).__mro__, *play.classes)}
    modules = {name for name in modules if name.partition(".")[0] not in {"pytest_rltask", *sys.stdlib_module_names}}
    files = {name: getattr(sys.modules.get(name), "__file__", None) for name in modules}
    return {f"the path of the module {name}": path for name, path in files.items() if path}


def _secrets() -> dict[str, str]:
    """Return the environment's secrets, by what they are called."""
    return {
        f"the environment variable {name}": value
        for name, value in os.environ.items()
        if SECRET_NAMES.search(name) and len(value) >= SECRET_CHARS
    }


# What remains


def nothing_is_left_behind(case: Case) -> None:
    """A closed episode leaves no temporary file, process, thread or open file."""
    play = case.warm(case.player)  # the first may have loaded libraries, which keep threads and files
    if play.leftovers:
        left = "\n".join(f"  {line}" for line in play.leftovers[:20])
        raise Unsound(
            f"The episode of seed {play.record.seed}, played by {case.player}, left behind once it was closed:\n{left}",
            "Give it back in Episode.close(), which is called whatever happened.",
            play.record,
        )
