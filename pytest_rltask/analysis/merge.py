"""Makes one run of its shards: the same files side by side in a new run directory, once they are of one whole.

A pass rate is of one thing, and of all of it: shards of different plans, a shard twice or not at all, and trials that
were planned and not played are refused with their names.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pytest_rltask.run.files import created, odd_files, write_whole
from pytest_rltask.run.images import images_text
from pytest_rltask.run.load import Run, load_run
from pytest_rltask.run.planned import PlannedTrial

__all__ = ["MergeError", "differences", "merge"]

_COMPARED = ("task_digest", "grader", "band", "limits", "sandbox")
_TOLD = 5


class MergeError(Exception):
    """Runs do not make one; the message says why, and what to do."""


def merge(runs: Sequence[Run], into: Path, **header: str) -> Run:
    """Write one run directory with the trials of all shards, and load it.

    Args:
        runs: the shards, in any order.
        into: the directory to create.
        header: what ``run.json`` says of it by itself: ``id``, ``created`` and ``command``.

    Returns:
        The run that they make.

    Raises:
        MergeError: they make none.
    """
    _check_whole(runs)
    shards = sorted(runs, key=lambda run: int(run.header["shard"]["index"]))
    if wrong := [line for other in shards[1:] for line in differences(shards[0], other)]:
        raise MergeError(f"the shards are not of one run: {'; '.join(wrong[:_TOLD])}")
    _check_played(shards)
    first = shards[0].header
    kept = {key: value for key, value in first.items() if key not in ("shard", "path")}
    told = {
        **kept,
        **header,
        "merged": [{"id": run.header["id"], "path": str(run.path), "shard": run.header["shard"]} for run in shards],
    }
    path = created(into, told)
    try:
        write_whole(path / "plan.json", [asdict(trial) for trial in _plan(shards)])
        for run in shards:
            _copy(run, path)
        return load_run(path)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)  # half a run would be taken for one
        raise


def _check_whole(runs: Sequence[Run]) -> None:
    for run in runs:
        if "shard" not in run.header:
            raise MergeError(
                f"{run.path} is no shard: it was started without --shard I/N, and is a whole run by itself"
            )
    wholes = {(run.header["shard"]["of"], run.header["shard"]["by_row"]) for run in runs}
    if len(wholes) > 1:
        counts = ", ".join(f"{run.path.name} is {_name(run)}" for run in runs)
        raise MergeError(f"these are shards of several runs: {counts}")
    by_index: dict[int, Run] = {}
    for run in runs:
        index = int(run.header["shard"]["index"])
        if index in by_index:
            raise MergeError(f"{by_index[index].path} and {run.path} are both shard {_name(run)}; name one of them")
        by_index[index] = run
    of, parts = (int(runs[0].header["shard"][key]) for key in ("of", "parts"))
    missing = [f"{index}/{of}" for index in range(min(of, parts)) if index not in by_index]
    if missing:
        raise MergeError(
            f"{len(missing)} of {of} shards missing: {', '.join(missing)}; name their runs as well, "
            f"or play them with --shard {missing[0]}"
        )


def differences(one: Run, other: Run) -> Iterator[str]:
    """Say in what two shards are not of one run: gate, tasks, graders, models, settings, tools."""
    for key in ("gate", "sequential"):
        if one.header.get(key) != other.header.get(key):
            yield f"{key} is {one.header.get(key)} in {_name(one)} and {other.header.get(key)} in {_name(other)}"
    rows, others = _rows(one), _rows(other)
    for row in rows.keys() & others.keys():
        for what, was in rows[row].items():
            if was and others[row][what] and was != others[row][what]:
                here, there = f"{was} in {_name(one)}", f"{others[row][what]} in {_name(other)}"
                yield f"{row[0]} by {row[1]}: {what.replace('_', ' ')} is {here} and {there}"
    if one.header["shard"]["whole"] != other.header["shard"]["whole"] and rows.keys() != others.keys():
        only = [f"{test} by {model}" for test, model in sorted(rows.keys() ^ others.keys())]
        yield f"{_name(one)} and {_name(other)} planned different trials (only one has {', '.join(only[:_TOLD])})"
    elif (
        one.header["shard"]["whole"] != other.header["shard"]["whole"] and not one.records.keys() & other.records.keys()
    ):
        yield f"{_name(one)} and {_name(other)} were started with different options or tasks"


def _rows(run: Run) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what must be equal in all shards, by test and model."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for trial in run.plan:
        row = found.setdefault((trial.test, trial.model), {key: getattr(trial, key) for key in _COMPARED})
        record = run.records.get(trial.trial_id)
        if record is not None and record.fault is None:
            row.setdefault("tools", record.tools_digest)
            row.setdefault("images", images_text(record.images))
    for row in found.values():
        row.setdefault("tools", "")
        row.setdefault("images", "")
    return found


def _check_played(shards: Iterable[Run]) -> None:
    for run in shards:
        missing = [t.trial_id for t in run.plan if t.trial_id not in run.records and t.trial_id not in run.not_started]
        if missing:
            some = ", ".join(missing[:_TOLD]) + (", ..." if len(missing) > _TOLD else "")
            raise MergeError(
                f"{len(missing)} of {len(run.plan)} planned trials of shard {_name(run)} were not played ({some}); "
                f"play them with: {run.header['command']} --resume={run.path}"
            )


def _plan(shards: Sequence[Run]) -> list[PlannedTrial]:
    """Return the trials in the order of the whole, of which each shard has every N-th part."""
    parts = [_parts(run) for run in shards]  # shards without any are the last ones, and may be missing
    return [trial for turn in zip_longest(*parts) for part in turn if part for trial in part]


def _parts(run: Run) -> list[list[PlannedTrial]]:
    """Return what was dealt to a shard in one piece: trials, or all trials of a test and model."""
    if not run.header["shard"]["by_row"]:
        return [[trial] for trial in run.plan]
    rows: dict[tuple[str, str], list[PlannedTrial]] = {}
    for trial in run.plan:
        rows.setdefault((trial.test, trial.model), []).append(trial)
    return list(rows.values())


def _copy(run: Run, into: Path) -> None:
    """Put what a shard's processes wrote beside that of the others, as if they had been processes of one run."""
    index = run.header["shard"]["index"]
    for file in sorted(run.path.glob("trials.*.jsonl")):
        if odd_files(str(run.path), [file.name]):
            raise MergeError(f"{file} is no file, as a run writes it")
        shutil.copyfile(file, into / file.name.replace("trials.", f"trials.shard{index}-", 1))
    for folder in ("graders", "transcripts", "artifacts", "media"):
        if (run.path / folder).is_dir() and not (run.path / folder).is_symlink():
            shutil.copytree(run.path / folder, into / folder, dirs_exist_ok=True, ignore=odd_files)


def _name(run: Run) -> str:
    shard = run.header["shard"]
    return f"{shard['index']}/{shard['of']}"
