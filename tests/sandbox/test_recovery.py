"""What a run leaves that passed a limit of the disk, and that a later run can do without; how deep files may lie."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxLimits
from pytest_rltask.tools import ToolError

MB = 2**20
LIMITS = SandboxLimits(wall_s=30, disk_bytes=8 * MB, disk_files=100)
CHECK = "import os; print(sorted(os.listdir('.')), open('data.csv').read())"


@pytest.fixture(params=[(), ("decimal",)], ids=["cold", "preloaded"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(LIMITS, preload=request.param) as sandbox:
        sandbox.write_file("data.csv", "x")
        yield sandbox


DEEDS = {
    "a big file": "open('big', 'wb').write(os.urandom(16 * 2**20))",
    "a big file among temporary ones": "open(tempfile.gettempdir() + '/big', 'wb').write(os.urandom(16 * 2**20))",
    "many files": "[open(f'{i}', 'w').close() for i in range(200)]",
    "a deep folder": "for i in range(60): os.mkdir('d'); os.chdir('d')",
    "a closed folder": "os.mkdir('new'); [open(f'new/{i}', 'w').close() for i in range(200)]; os.chmod('new', 0)",
    "files in a folder of before": "[open(f'old/{i}', 'w').close() for i in range(200)]",
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_run_that_passes_a_limit_of_the_disk_does_not_end_the_next_one(sandbox: Sandbox, deed: str) -> None:
    sandbox.write_file("old/kept.txt", "kept")
    sandbox.write_file("fill.py", f"import os, tempfile, time\n{DEEDS[deed]}\ntime.sleep(60)")
    filled = sandbox.run_python("fill.py")
    sandbox.write_file("check.py", CHECK)

    checked = sandbox.run_python("check.py")

    assert filled.status in ("disk", "files")
    assert "the files that it wrote or changed are removed" in filled.summary
    assert (checked.stdout, checked.status) == ("['check.py', 'data.csv', 'fill.py', 'old'] x\n", "exit"), checked
    assert sandbox.read_file("old/kept.txt", max_bytes=9) == b"kept"


def test_what_an_earlier_run_wrote_stays(sandbox: Sandbox) -> None:
    sandbox.write_file("first.py", "open('model', 'w').write('trained')")
    sandbox.write_file("fill.py", DEEDS["a big file"].join(["import os; ", ""]))

    statuses = [sandbox.run_python(name).status for name in ("first.py", "fill.py")]

    assert statuses == ["exit", "disk"]
    assert sandbox.files() == ["data.csv", "fill.py", "first.py", "model"]


def test_a_file_that_grew_past_the_limit_is_removed(sandbox: Sandbox) -> None:
    sandbox.write_file("fill.py", "import os; open('data.csv', 'ab').write(os.urandom(16 * 2**20))")

    assert sandbox.run_python("fill.py").status == "disk"
    assert sandbox.files() == ["fill.py"]


def test_whatever_write_file_accepts_leaves_runs_possible() -> None:
    """Limits on depth, number and size count alike where they are checked."""
    with Sandbox(SandboxLimits(wall_s=30, disk_bytes=MB, disk_files=60)) as sandbox:
        sandbox.write_file("script.py", "print('runs')")
        sandbox.write_file("a/" * 40 + "x.py", "")
        with pytest.raises(ToolError, match="below 41 folders; 40 are the most"):
            sandbox.write_file("b/" * 41 + "x.py", "")
        with pytest.raises(ToolError, match="more than 60 files and folders"):
            sandbox.write_file("c/" * 39 + "x.py", "")  # with its folders there would be 82
        written = list(write_until_refused(sandbox, 60_001))  # which takes whole blocks of the disk

        assert 10 < len(written) < 18
        assert sandbox.run_python("script.py").stdout == "runs\n"


def write_until_refused(sandbox: Sandbox, size: int) -> Iterator[str]:
    for number in range(18):
        try:
            sandbox.write_file(f"{number}", os.urandom(size))
        except ToolError as error:
            assert "bytes together" in str(error)  # noqa: PT017
            return
        yield f"{number}"


def test_a_full_sandbox_can_be_cleared_by_the_tools_that_a_model_has() -> None:
    with Sandbox(SandboxLimits(wall_s=30, disk_bytes=MB)) as sandbox:
        sandbox.write_file("big", os.urandom(MB - 4096))
        with pytest.raises(ToolError, match="replace a file by a shorter one"):
            sandbox.write_file("script.py", "x" * 8192)

        sandbox.write_file("big", "import os; os.unlink('big')")

        assert sandbox.run_python("big").ok
        sandbox.write_file("script.py", "x" * 8192)
