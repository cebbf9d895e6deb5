"""What a trial's grader reads, asked for before it grades, and graded again in a fresh episode of the same seed."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_rltask.run.artifacts import MOST_BYTES, MOST_FILES, keep_artifacts
from pytest_rltask.run.record import Record, clean_text, error_text
from pytest_rltask.sandbox import SandboxError, SandboxFile, using_backend
from pytest_rltask.task import Episode
from pytest_rltask.tools import ToolError
from pytest_rltask.trial.asking import answering
from pytest_rltask.trial.grading import checked, plain, take_grade
from pytest_rltask.trial.guard import TrialFault, Worker, blamed
from pytest_rltask.trial.opening import TrialSpec, mark_errored, new_record, opened, sources_of, turns_of

__all__ = ["can_regrade", "contents_of", "keep", "regraded"]


def keep(run_dir: Path, record: Record, episode: Episode) -> None:
    """Keep what an episode says its grader reads; what is not kept is told in the record, and costs no grade."""
    keep_artifacts(run_dir, record, contents_of(record, episode))


def contents_of(record: Record, episode: Episode) -> dict[str, bytes]:
    """Return what an episode says its grader reads, as far as that is kept; the record tells what is not."""
    try:
        return dict(_contents(episode.artifacts(), record))
    except Exception as error:  # a bug that is found after all is paid
        said = f"artifacts() failed: {type(error).__name__}: {error_text(error)}"
        record.artifacts_left_out["(all)"] = clean_text(said)[:500]
        return {}


def _contents(named: Mapping[str, Any], record: Record) -> Iterator[tuple[str, bytes]]:
    left, count = MOST_BYTES, 0  # what is not kept is not read: an agent may have made it large
    for name, value in named.items():
        match value:
            case bytes() | bytearray():
                yield str(name), bytes(value)
            case str():
                yield str(name), clean_text(value).encode()
            case SandboxFile():
                if count == MOST_FILES:
                    record.artifacts_left_out["(more)"] = f"{MOST_FILES} are kept at most"
                    return
                try:
                    content = value.read(max_bytes=left)
                    left, count = left - len(content), count + 1
                    yield str(name), content
                except (ToolError, SandboxError, OSError) as error:
                    why = "there is no such file" if isinstance(error, FileNotFoundError) else error_text(error)[:500]
                    record.artifacts_left_out[clean_text(str(name))[:200]] = why
            case _:
                raise TypeError(
                    f"{name!r} is {type(value).__name__}; write its bytes, a string, or self.box.file({name!r})"
                )


def can_regrade(record: Record) -> bool:
    """Say whether all that graded a trial was kept."""
    return bool(record.artifacts) and not record.artifacts_left_out


async def regraded(
    spec: TrialSpec, record: Record, artifacts: Mapping[str, bytes], slots: asyncio.Semaphore | None = None
) -> Record | None:
    """Return a trial as today's grader grades what was kept of it.

    Args:
        spec: what is played today, with the trial's seed.
        record: the trial as recorded.
        artifacts: what was kept of it.
        slots: how many trials may compute at once.

    Returns:
        Its record, errored if the task's code failed; None: its episode grades no artifacts, or is another one than it
        was, so that they say nothing of it.
    """
    today = new_record(spec)
    new = dataclasses.replace(
        record, task_digest=today.task_digest, label="", reason="", fault=None, outcome="errored", history=[]
    )
    with using_backend(spec.sandbox, sources=sources_of(spec.task)):
        worker = Worker(slots)
    try:
        async with opened(spec, today, worker) as (episode, laying_out):
            turns_of(spec, today, episode, worker)
            await laying_out.done()
            if type(episode).regrade is Episode.regrade or _is_other(record, today):
                return None
            with blamed("the grader of artifacts"):
                with answering(spec, today, worker, episode, replayed=record):
                    grade = await worker.awaited(
                        lambda: episode.regrade(artifacts), "the grader of artifacts", within_s=spec.limits.tool_s
                    )
                take_grade(new, checked(grade, "regrade"))
    except TrialFault as error:
        mark_errored(new, error.fault)
        new.score = new.grade_passed = None
    finally:
        worker.end()
    return new


def _is_other(record: Record, today: Record) -> bool:
    """Say whether the episode of a seed is not what it was, as by other data."""
    return (record.prompt_digest, record.tools_digest, record.info) != (
        today.prompt_digest,
        today.tools_digest,
        plain(today.info),
    )
