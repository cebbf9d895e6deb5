"""Grades recorded trials anew, without a model: by score where thresholds alone changed, by what was kept, or a replay.

A replay opens the episode again, has today's tools answer the recorded calls, and today's grader grade. It stands for
the trial only as long as the model would have seen the same: a prompt, a tool's result, a reminder or an end that is
another now might have had it act otherwise. Such a trial is errored, and keeps no grade: playing it again costs money,
which is for the next ``--resume`` to spend. Durations and times of day may differ, and so may what two replays of today
tell apart: names of temporary files, addresses.
"""

from __future__ import annotations

import asyncio
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_rltask.analysis.changed import Changed, regraded_by_score
from pytest_rltask.models.judges import recorded
from pytest_rltask.models.replay import ReplayModel, Replays
from pytest_rltask.run.amendments import GRADE_FIELDS
from pytest_rltask.run.artifacts import LostArtifact, load_artifacts
from pytest_rltask.run.images import changed_images
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.record import Fault, Record
from pytest_rltask.trial.event_loop import run
from pytest_rltask.trial.keeping import can_regrade, regraded
from pytest_rltask.trial.play import TrialSpec, play

__all__ = ["divergence", "regrade"]

_ENOUGH_S = 1e9
"""A time limit that no replay meets: what the model took is not taken again."""
_TIMES = re.compile(
    r"\d+(?:\.\d+)?(?=\s*(?:s|ms|sec|secs|seconds|milliseconds)\b)"  # durations
    r"|\b\d{4}-\d\d-\d\d(?:[T ](?=\d\d:))?"  # days
    r"|\b[DIWEF]\d{4}(?= \d\d:\d\d:\d\d)"  # days as glog writes them, and torch
    r"|\b\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?\b"  # times of day
)
_TOKEN = re.compile(r"\w+(?:\.\w+)*|\s+|[^\w\s]")


def regrade(changed: Iterable[Changed], specs: Mapping[str, TrialSpec], writer: RunWriter, *, cores: int) -> None:
    """Grade trials anew, each on disk as soon as it has its grade.

    Args:
        changed: the trials.
        specs: what is played today, by trial id.
        writer: of this process.
        cores: how many trials may compute at once.
    """
    run(_regrade(changed, specs, writer, cores=cores))


async def _regrade(
    changed: Iterable[Changed], specs: Mapping[str, TrialSpec], writer: RunWriter, *, cores: int
) -> None:
    slots, places = asyncio.Semaphore(cores), asyncio.Semaphore(cores)

    async def one(group: Changed, record: Record) -> None:
        new, how, words = regraded_by_score(group, record), "threshold", group.words
        if new is None:
            async with places:
                new, how, words = await _anew(record, group, specs[group.today.trial_id], slots, writer.path)
        now = {name: getattr(new, name) for name in GRADE_FIELDS}
        now["fault"] = dataclasses.asdict(new.fault) if new.fault else None
        writer.step(record, how, now, grader=group.today.grader, changes=words)

    await asyncio.gather(*(one(group, record) for group in changed for record in group.records))


async def _anew(
    record: Record, changed: Changed, today: TrialSpec, slots: asyncio.Semaphore, run_dir: Path
) -> tuple[Record, str, str]:
    """Return a trial as it is graded today, how, and since what: from what was kept of it, else by a replay."""
    spec, words = _spec_of(record, changed, today), changed.words
    if can_regrade(record):
        try:
            artifacts = load_artifacts(run_dir, record)
        except (LostArtifact, OSError) as error:
            words = f"{words} (replayed, for {error})"
        else:
            new = await regraded(spec, record, artifacts, slots)
            if new is not None:
                return new, "artifacts", words
    return await _replayed(record, changed, today, slots), "replay", words


async def _replayed(record: Record, changed: Changed, today: TrialSpec, slots: asyncio.Semaphore) -> Record:
    """Return a trial as today's tools and grader have it, errored where it took another course."""
    new = await _replay(record, changed, today, slots)
    if new.fault is not None and new.fault.kind != "harness":
        return new  # whoever plays it now meets the same fault
    why = divergence(record, new)
    if why and _is_of_text_alone(record, new):
        why = divergence(record, new, await _replay(record, changed, today, slots))
    if new.fault is not None or why:
        said = f"not regraded, the replay took another course: {why or (new.fault.message if new.fault else '')}"
        fault = Fault("harness", f"{said}; --resume plays it again")
        new = dataclasses.replace(
            new, outcome="errored", label="not regraded", reason=said, fault=fault, score=None, grade_passed=None
        )
    return new


def _spec_of(record: Record, changed: Changed, today: TrialSpec) -> TrialSpec:
    return dataclasses.replace(
        today,
        trial_id=record.trial_id,
        model=record.model,
        run=record.run,
        seed=record.seed,
        limits=dataclasses.replace(today.limits, wall_s=_ENOUGH_S),
        grader=changed.today.grader,
        judges=recorded(today.judges),
    )


async def _replay(record: Record, changed: Changed, today: TrialSpec, slots: asyncio.Semaphore) -> Record:
    spec = _spec_of(record, changed, today)
    new = await play(spec, ReplayModel(Replays([(spec.variant, record)])), slots)
    if new.outcome == "failed" and record.limit == "wall":
        new.label = record.label
    return new


def divergence(old: Record, new: Record, again: Record | None = None) -> str:
    """Say how what a model would see now differs from what it saw; empty if in nothing that matters.

    Args:
        old: the trial as recorded.
        new: its replay.
        again: a second replay, to tell results that vary by themselves.
    """
    if new.prompt_digest != old.prompt_digest:
        return "the prompt changed"
    if new.tools_digest != old.tools_digest:
        return "the tools changed"
    if said := changed_images(old.images, new.images):
        return said
    theirs, ours = list(_seen(old)), list(_seen(new))
    others = list(_seen(again)) if again else []
    is_timed = old.limit == "wall"
    for index, (kind, was) in enumerate(theirs):
        if index >= len(ours):
            return f"it ended after {len(ours)} of {len(theirs)} answers to the model"
        now_kind, now = ours[index]
        if now_kind != kind:
            return f"{kind} is {now_kind} now"
        if not _alike(was, now, others[index][1] if index < len(others) else None):
            return f"{kind} says {_short(now)}, said {_short(was)}"
    if not is_timed and len(ours) != len(theirs):
        return "the conversation went on"
    if not is_timed and (new.stop, new.limit) != (old.stop, old.limit):
        return f"it ended by {new.limit or new.stop}, not by {old.limit or old.stop}"
    return ""


def _is_of_text_alone(old: Record, new: Record) -> bool:
    return [kind for kind, _ in _seen(old)] == [kind for kind, _ in _seen(new)]


def _seen(record: Record) -> Iterator[tuple[str, str]]:
    """Yield what the model was answered after its first message, a kind and a text each."""
    names = {use["id"]: use["name"] for message in record.messages for use in _blocks(message, "tool_use")}
    for message in record.messages[1:]:
        if message["role"] == "user":
            for block in _blocks(message):
                if block.get("type") == "tool_result":
                    how = "an error" if block.get("is_error") else "a result"
                    yield f"{how} of {names.get(block.get('tool_use_id'), 'a tool')}", str(block.get("content"))
                else:
                    yield "a message", str(block.get("text"))


def _blocks(message: dict[str, Any], kind: str = "") -> list[dict[str, Any]]:
    content = message["content"]
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return [block for block in blocks if not kind or block.get("type") == kind]


def _alike(was: str, now: str, again: str | None) -> bool:
    """Say whether two texts are the same but for times, and for what differs between two texts of today."""
    was, now = _TIMES.sub("0", was), _TIMES.sub("0", now)
    if was == now or again is None:
        return was == now
    tokens = [_TOKEN.findall(text) for text in (was, now, _TIMES.sub("0", again))]
    if len({*map(len, tokens)}) > 1:
        return False  # nobody can tell which words of one are those of another
    return all(mine == then or mine != other for then, mine, other in zip(*tokens, strict=True))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
