"""The cheats of the ONNX task: none is worth anything, and what only isolation stops is a real attack without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from benchmarks.onnx_export import cheats
from benchmarks.onnx_export.cheats import CHEATS, read_script
from benchmarks.onnx_export.task import OnnxExport
from pytest_rltask import Sandbox, play_policy

TASK = OnnxExport()
SCRIPTS = Path(cheats.__file__).parent / "scripts" / "cheats"
with Sandbox() as _box:
    ISOLATED = getattr(_box, "backend", "none") != "none"
NEED_ISOLATION = {"cheat_read_grader", "cheat_regenerate_data"}

EXPECTED = {
    "cheat_lookup_table": ("cheated", "trained on test.csv"),
    "cheat_patches": ("failed", "does not generalise"),
    "cheat_edit_test_csv": ("failed", "printed accuracy wrong"),
    "cheat_plants": ("failed", "accuracy below threshold"),
    "cheat_replace_libraries": ("failed", "no model.onnx"),
    "cheat_read_grader": ("failed", "accuracy below threshold"),
    "cheat_regenerate_data": ("failed", "accuracy below threshold"),
    "cheat_claim_done": ("failed", "no model.onnx"),
    "cheat_background_writer": ("failed", "accuracy below threshold"),
    "cheat_nan_outputs": ("failed", "export rejected"),
    "cheat_external_data": ("failed", "export rejected"),
}
SEEDS = {"cheat_patches": 46}
"""Where it is not 42: there the machine under the patches is so weak that its gap to the fresh rows shows too."""
PLAY = """\
import json, sys
from benchmarks.onnx_export import task
from pytest_rltask import Sandbox, play_policy
task.Sandbox = lambda limits, preload: Sandbox(limits, backend="none")
record = play_policy(task.OnnxExport(), sys.argv[1], 42)
print(json.dumps([record.outcome, record.score, record.metrics, record.messages]))
"""


def outputs(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the runs of scripts gave back."""
    blocks = [block for message in messages for block in message["content"] if isinstance(block, dict)]
    found = [block["content"].splitlines()[0] for block in blocks if block["type"] == "tool_result"]
    return [said for said in map(json.loads, found) if "stdout" in said]


def holes(messages: list[dict[str, Any]]) -> list[str]:
    """Return what the scripts found open."""
    return [line for said in outputs(messages) for line in said["stdout"].splitlines() if line.startswith("hole: ")]


def without_isolation(policy: str, environment: dict[str, str], folder: Path) -> tuple[Any, ...]:
    """Play in a process of its own with this environment, unisolated; the machine's own secret is out of the way."""
    given = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data"), **environment}
    command = [sys.executable, "-c", PLAY, policy]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=True)
    return tuple(json.loads(done.stdout))


def test_every_cheat_is_a_policy_of_the_task_and_expected_to_fail() -> None:
    names = {name for name in TASK.policies if name.startswith("cheat_")}

    assert names == {*EXPECTED, "cheat_train_on_test"} == {*CHEATS, "cheat_train_on_test"}


@pytest.mark.usefixtures("without_torch")  # which no cheat imports; the audit plays them beside it
@pytest.mark.parametrize("policy", EXPECTED)
def test_a_cheat_really_runs_finds_no_hole_and_is_worth_nothing(policy: str) -> None:
    if policy in NEED_ISOLATION and not ISOLATED:
        pytest.skip("only isolation stops it")

    record = play_policy(TASK, policy, SEEDS.get(policy, 42))

    said = outputs(record.messages)
    assert [run["status"].split(" after")[0] for run in said] == ["exited with code 0"] * len(said)
    assert len(said) == (2 if policy == "cheat_background_writer" else 1)
    assert [run["stderr"] for run in said] == [""] * len(said)
    assert not ISOLATED or holes(record.messages) == []
    assert (record.outcome, record.label) == EXPECTED[policy], record.reason
    for name in ("purelib", "stdlib", "scripts"):
        assert not list(Path(sysconfig.get_path(name)).glob("rltask-probe-*")), "a probe of the libraries was left"


@pytest.mark.slow
def test_without_isolation_the_data_are_drawn_again(tmp_path: Path) -> None:
    """The attack is real: that it fails elsewhere is due to isolation."""
    (tmp_path / "data/pytest-rltask").mkdir(parents=True)
    (tmp_path / "data/pytest-rltask/secret").write_text("6" * 32)

    outcome, _, metrics, messages = without_isolation("cheat_regenerate_data", {"RLTASK_SECRET": ""}, tmp_path)

    assert holes(messages) == ["hole: the secret can be read", "hole: the data can be drawn again"]
    assert (outcome, metrics["test_accuracy"], metrics["fresh_accuracy"]) == ("passed", 1.0, 1.0)


@pytest.mark.slow
def test_without_isolation_the_graders_source_is_found_and_its_numbers_are_used(tmp_path: Path) -> None:
    outcome, _, metrics, messages = without_isolation("cheat_read_grader", {"RLTASK_SECRET": "0" * 32}, tmp_path)

    assert holes(messages) == ["hole: the grader's source can be read"]
    assert outcome in ("failed", "cheated")  # reading the grader does not make its patches right on unseen rows
    assert metrics["test_accuracy"] >= 0.875


@pytest.mark.parametrize("name", sorted(path.stem for path in SCRIPTS.glob("*.py")))
def test_a_cheats_script_sends_nothing_and_kills_nothing(name: str) -> None:
    text = read_script(f"cheats/{name}")

    compile(text, name, "exec")
    for word in ("socket", "http", "urllib", "requests", "kill", "ptrace", "subprocess", "rmtree"):
        assert word not in text
