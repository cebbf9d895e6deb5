"""The scripted policies really train and export; slow, since each imports torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.calibration import table
from benchmarks.onnx_export import calibrate, policies
from benchmarks.onnx_export.grader import JITTER_GAP, predict, snapshot
from benchmarks.onnx_export.secret import fingerprint
from benchmarks.onnx_export.task import OnnxExport
from pytest_rltask import Sandbox, SandboxResult, play_policy

TASK = OnnxExport()

EXPORTS = {
    "default, in two files": "torch.onnx.export(net, (x,), path)",
    "dynamic batch": "torch.onnx.export(net, (x,), path, dynamic_shapes=({0: batch},))",
    "batch of 7": "torch.onnx.export(net, (x.repeat(7, 1),), path, external_data=False)",
    "program saved": "torch.onnx.export(net, (x,), dynamo=True).save(path)",
    "old exporter": "torch.onnx.export(net, (x,), path, dynamo=False)",
    "old exporter, dynamic batch": "torch.onnx.export(net, (x,), path, dynamo=False, dynamic_axes={'x': {0: 'n'}}, "
    "input_names=['x'])",
    "doubles": "torch.onnx.export(copy.deepcopy(net).double(), (x.double(),), path)",
    "single rows": "torch.onnx.export(net, (x[0],), path)",
}
EXPORTER = """\
import copy, numpy as np, torch
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(10, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
x, batch = torch.randn(1, 10), torch.export.Dim("batch")
features = torch.tensor(np.random.default_rng(0).normal(size=(50, 10))).float()
classes = net(features).argmax(1).numpy()
"""


def test_null_fails_for_want_of_a_model() -> None:
    record = play_policy(TASK, "null", 42)

    assert (record.outcome, record.label) == ("failed", "no model.onnx")


@pytest.mark.slow
def test_solver_passes() -> None:
    record = play_policy(TASK, "solver", 42)

    assert record.outcome == "passed", record.reason
    assert record.metrics["fresh_accuracy"] > 0.9
    assert record.metrics["test_accuracy"] - record.metrics["jittered_test_accuracy"] < JITTER_GAP / 2


@pytest.mark.slow
def test_every_torch_export_is_accepted_and_read_alike(tmp_path: Path) -> None:
    lines = [EXPORTER, f"np.save({str(tmp_path / 'classes.npy')!r}, classes)"]
    for name, export in EXPORTS.items():
        (tmp_path / name).mkdir()
        lines += [f"path = {str(tmp_path / name / 'model.onnx')!r}", export]

    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, capture_output=True)

    features = np.random.default_rng(0).normal(size=(50, 10))  # as in EXPORTER
    expected = np.load(tmp_path / "classes.npy", allow_pickle=False).tolist()
    assert set(expected) == {0, 1}
    for name in EXPORTS:
        with Sandbox() as box:
            for file in (tmp_path / name).iterdir():
                box.write_file(file.name, file.read_bytes())
            assert predict(snapshot(box), features).classes.tolist() == expected, name


@pytest.mark.slow
def test_every_policy_moves_the_same_way_for_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    really_write = Sandbox.write_file

    def write_file(box: Sandbox, name: str, content: str | bytes) -> Path:
        written.extend([str(content)] if name == "train.py" else [])
        return really_write(box, name, content)

    monkeypatch.setattr(Sandbox, "write_file", write_file)
    monkeypatch.setattr(Sandbox, "run_python", lambda box, path: SandboxResult("exit", 0, "", "", 0.1))

    for _ in range(2):
        play_policy(TASK, "baseline", 43)

    assert len(written) == 4
    assert written[:2] == written[2:]


@pytest.mark.parametrize("script", ["naive", "recipe", "solver"])
def test_a_configuration_replaces_the_scripts_own(script: str) -> None:
    moves = policies._run(script, {"seed": 123, "hidden": [7]})

    content = next(moves).arguments["content"]

    assert "CONFIG = {'seed': 123, 'hidden': [7]}\n" in content
    assert content.count("CONFIG = ") == 1
    compile(content, script, "exec")


@pytest.mark.slow
def test_an_interrupted_calibration_goes_on(tmp_path: Path, secret: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "calibration.jsonl"
    finished = {"policy": "null", "seed": 42, "passed": True, "cheated": False, "label": "score", "seconds": 1.0}
    measured = {"test_accuracy": None, "fresh_accuracy": None}
    identity = {"task": TASK.digest(), "secret": fingerprint(secret)}
    other = identity | {"secret": "00000000"}  # of another machine
    rows = [identity | finished | measured, other | finished | measured | {"seed": 43}]
    results.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"cut')

    calibrate.main(["--policies", "null", "--jobs", "1", "--seeds", "2", "--results", str(results)])

    added = json.loads(results.read_text().splitlines()[-1])
    assert (added["seed"], added["secret"], added["label"]) == (43, fingerprint(secret), "no model.onnx")
    assert "| `null` | 2 | 1 | 50% |" in capsys.readouterr().out


def test_the_table_counts_reasons_and_gives_an_exact_interval() -> None:
    row: dict[str, Any] = {
        "policy": "naive",
        "cheated": False,
        "test_accuracy": 0.8,
        "fresh_accuracy": 0.7,
        "seconds": 2.0,
    }
    lost = row | {"passed": False, "label": "accuracy below threshold"}

    means = {"mean test": "test_accuracy", "mean fresh": "fresh_accuracy"}
    lines = table([row | {"passed": True, "label": "score"}, lost, lost, lost], ["naive"], means).splitlines()

    assert lines[2] == (
        "| `naive` | 4 | 1 | 25% | 0.6% - 80.6% | 0 | 0.800 | 0.700 | 2.0 | accuracy below threshold 3 |"
    )


def test_calibration_explains_itself() -> None:
    command = [sys.executable, "-m", "benchmarks.onnx_export.calibrate", "--help"]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "--policies" in done.stdout
