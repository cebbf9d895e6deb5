"""What is written where nothing more can be written: what replies in flight cost, and whole lines only."""

from __future__ import annotations

import sys
from textwrap import dedent

import pytest

from pytest_rltask.run.load import load_run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.record import RequestLog, Usage
from tests.run.written import python, record_of

FULL = """
    import resource, sys
    from pathlib import Path
    from pytest_rltask.run.log import RunWriter
    from pytest_rltask.run.record import RequestLog, Usage
    from tests.run.written import HEADER, record_of

    writer, full = RunWriter(Path(sys.argv[1]), "main", HEADER), 0
    for i in range(40):
        try:
            writer.pay(record_of(), RequestLog(f"req_{i}", "m", "end_turn", Usage(1, 2), 0.25, 0.1))
        except OSError:
            full += 1
        if i == 0:
            resource.setrlimit(resource.RLIMIT_FSIZE, (12000, 12000))
    try:
        writer.append(record_of("a"))
    except OSError:
        print(full, *(path.name for path in sorted(writer.path.iterdir()) if "reserve" in path.name))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on the size of files")
def test_what_was_paid_is_written_into_space_set_aside(writer: RunWriter):
    told, _ = python(dedent(FULL), writer.path).communicate()

    run = load_run(writer.path)

    full, *held = told.split()
    assert 0 < int(full) < 40, "some were written to the full file, the others beside it"
    assert (held, run.damaged_lines) == ([], 0), "the space was given up, and no half line is left"
    assert len(list(writer.path.glob("trials.*.jsonl"))) == 2
    assert sum(record.known_cost_usd for record in run.paid) == 40 * 0.25


def test_the_space_is_given_up_in_the_end(writer: RunWriter):
    writer.pay(record_of("a"), RequestLog("req", "m", "end_turn", Usage(1, 2), 0.25, 0.1))
    (held,) = (path for path in writer.path.iterdir() if path.name.endswith(".reserve"))
    assert held.stat().st_size == 128 * 1024
    writer.close()
    assert not held.exists()
