"""Whatever an agent leaves as model.onnx, the trial is judged: with a reason, within limits, and outside of pytest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper

from benchmarks.onnx_export import data as data_module
from benchmarks.onnx_export import grader
from benchmarks.onnx_export.data import Data
from benchmarks.onnx_export.grader import MAX_WEIGHT_FILES, WORKER_LIMITS, UndeliveredError, predict, snapshot
from benchmarks.onnx_export.task import OnnxExport
from pytest_rltask import Sandbox, SandboxError
from tests.benchmarks.onnx_export.onnx_hostile import HOSTILE, empty_nodes
from tests.benchmarks.onnx_export.onnx_models import HONEST, ONE, SCORE, WEIGHTS, build, external, value
from tests.conftest import slow

FEATURES = np.random.default_rng(1).normal(size=(203, 10)).round(6)
ROWS = len(FEATURES)
GOOD = HONEST["logit (N,1)"]["model.onnx"]


def rejection(files: dict[str, bytes]) -> str:
    """Return why the grader rejects a model, in a line for a person."""
    with pytest.raises(UndeliveredError) as caught:
        predict(files, FEATURES)
    reason = str(caught.value)
    assert caught.value.label == "export rejected"
    assert reason.isprintable()
    assert len(reason) < 500
    assert "/tmp" not in reason
    return reason


# Models


@pytest.mark.usefixtures("kept_sandbox")
@pytest.mark.parametrize(
    "name", [slow(name) if name in ("hoarding loop", "10^6 empty nodes") else name for name in HOSTILE]
)
def test_a_hostile_model_is_rejected_in_words(name: str) -> None:
    content, words = HOSTILE[name]

    assert words in rejection({"model.onnx": content})


def test_a_small_file_that_fills_the_memory_ends_at_the_limit() -> None:
    limits = replace(WORKER_LIMITS, memory_bytes=2**29)

    with pytest.raises(UndeliveredError, match=r"bad_alloc|more memory than its limit|SIG"):
        predict({"model.onnx": empty_nodes(10**7)}, FEATURES, limits)


def test_a_long_chain_of_nodes_is_run() -> None:
    steps = [helper.make_node("Neg", [f"n{i}"], [f"n{i + 1}"]) for i in range(4000)]
    first, last = helper.make_node("Identity", ["s"], ["n0"]), helper.make_node("Identity", ["n4000"], ["y"])

    reading = predict({"model.onnx": build(SCORE, first, *steps, last, weights=ONE)}, FEATURES)

    assert reading.classes.any()


def test_names_and_metadata_of_a_model_reach_no_terminal() -> None:
    name = "\x1b[2J\n\u202etest accuracy: 1.0" + "x" * 1000
    node = helper.make_node("MatMul", [name, "W"], ["y\x07"])
    model = ModelProto()
    model.ParseFromString(build(node, inputs=[value(name, shape=(None, 10))], outputs=[value("y\x07")], weights=ONE))
    model.metadata_props.add(key="location", value="model.onnx" * 10**5)
    model.doc_string = "z" * 10**6

    reading = predict({"model.onnx": model.SerializeToString()}, FEATURES)

    assert reading.input.isprintable()
    assert len(reading.input) <= 200


def test_a_producers_name_is_quoted_in_a_line() -> None:
    forged = build(SCORE, weights=ONE, outputs=[value("s")], producer="evil\n\x1b[31m" + "x" * 10**5)

    assert "as its producer" in rejection({"model.onnx": forged}) or "xxx" in rejection({"model.onnx": forged})


# A worker that a model has taken over


def takeover(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str) -> None:
    """Put code in the worker's place: what a model could do that runs code in onnxruntime."""
    worker = tmp_path / "grade_worker.py"
    lines = ["import json, os, sys", "from pathlib import Path", "print('ready', flush=True)"]
    lines += ["report = lambda **said: Path('report.json').write_text(json.dumps(said))", code]
    worker.write_text("\n".join(lines))
    monkeypatch.setattr(grader, "_WORKER", worker)


OWN = f"report(kind='float64', columns=1, input='x'); Path('predictions').write_bytes(bytes({ROWS * 8}))"
LIES = {
    "no report": "",
    "no predictions": "report(kind='float64', columns=1, input='x')",
    "too few": f"{OWN}; os.truncate('predictions', 8)",
    "too many": f"{OWN}; os.truncate('predictions', 2**40)",
    "objects": f"{OWN}; report(kind='object', columns=1, input='x')",
    "complex numbers": f"{OWN}; report(kind='complex64', columns=1, input='x')",
    "negative columns": f"{OWN}; report(kind='float64', columns=-1, input='x')",
    "many columns": f"{OWN}; report(kind='float64', columns=10**30, input='x')",
    "columns of text": f"{OWN}; report(kind='float64', columns='1', input='x')",
    "kind that is a list": f"{OWN}; report(kind=['float64'], columns=1, input='x')",
    "no input": f"{OWN}; report(kind='float64', columns=1)",
    "a list": f"{OWN}; Path('report.json').write_text('[]')",
    "no JSON": f"{OWN}; Path('report.json').write_text('[' * 60000)",
    "no text": f"{OWN}; Path('report.json').write_bytes(bytes(range(256)))",
    "a long report": f"{OWN}; Path('report.json').write_text('1' * 10**6)",
    "a number without end": f"{OWN}; Path('report.json').write_text('1' * 60000)",
    "report is a pipe": f"{OWN}; os.unlink('report.json'); os.mkfifo('report.json')",
    "report is a link": f"{OWN}; os.unlink('report.json'); os.symlink('/dev/zero', 'report.json')",
    "predictions are a link": f"{OWN}; os.unlink('predictions'); os.symlink('/dev/zero', 'predictions')",
    "predictions are a folder": f"{OWN}; os.unlink('predictions'); os.mkdir('predictions')",
    "NaN": f"{OWN}; Path('predictions').write_bytes(b'\\xff' * {ROWS * 8})",
    "class id 2": f"{OWN}; report(kind='int64', columns=1, input='x'); open('predictions', 'r+b').write(b'\\2')",
    "exit": f"{OWN}; os._exit(1)",
    "killed": f"{OWN}; os.kill(os.getpid(), 9)",
    "exception": f"{OWN}; raise MemoryError",
    "its folder is gone": f"{OWN}; import shutil; shutil.rmtree(os.getcwd())",
    "escapes": "report(error='\\x1b[2J\\n\\ud800 passed')",
    "an error without end": "report(error='x' * 60000)",
}


@pytest.mark.usefixtures("kept_sandbox")
@pytest.mark.parametrize("name", LIES)
def test_nothing_that_a_taken_over_worker_leaves_is_believed(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    takeover(monkeypatch, tmp_path, LIES[name])

    rejection({"model.onnx": GOOD})


def test_a_taken_over_worker_reads_nothing_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("canary")
    lines = [f"try: said = Path({str(labels)!r}).read_text()", "except OSError: said = 'refused'", "report(error=said)"]
    takeover(monkeypatch, tmp_path, "\n".join(lines))

    assert rejection({"model.onnx": GOOD}) == "model.onnx was rejected: refused"


def test_what_a_worker_says_of_the_input_is_cut_and_printable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    takeover(monkeypatch, tmp_path, OWN.replace("input='x'", "input='\\x1b[2J\\ud800' + 'x' * 9999"))

    reading = predict({"model.onnx": GOOD}, FEATURES)

    assert reading.input.isprintable()
    assert len(reading.input) <= 200
    json.dumps(reading.input).encode()


def test_a_worker_that_fails_before_it_opens_the_model_is_our_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    worker = tmp_path / "grade_worker.py"
    worker.write_text("import a_library_that_is_not_installed")
    monkeypatch.setattr(grader, "_WORKER", worker)

    with pytest.raises(SandboxError, match=r"grading worker failed: exited with code 1 after .* s: Traceback"):
        predict({"model.onnx": GOOD}, FEATURES)


def test_pytest_itself_never_imports_what_parses_a_model() -> None:
    script = f"open('model.onnx', 'wb').write({GOOD!r})"
    code = (
        "import sys\n"
        "from benchmarks.onnx_export import task\n"
        "from pytest_rltask import Sandbox\n"
        "task.Sandbox = lambda limits, preload: Sandbox(limits)\n"  # its script needs no torch
        "with task.OnnxExport().open(42) as episode:\n"
        f"    episode.write_file(path='make.py', content={script!r})\n"
        "    episode.run_python(path='make.py')\n"
        "    assert 'model.onnx reaches' in episode.grade().reason\n"
        "sys.exit(' '.join({'onnx', 'onnxruntime', 'torch'} & set(sys.modules)) or 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


# Files


@pytest.mark.parametrize("kind", ["sparse", "too long", "unreadable folder", "no folder"])
def test_a_model_that_cannot_be_read_is_rejected(kind: str, box: Sandbox) -> None:
    model = box.path / "model.onnx"
    match kind:
        case "sparse":
            with open(model, "wb") as file:
                file.truncate(10 * 2**30)
        case "too long":
            model.write_bytes(bytes(64 * 2**20 + 1))
        case "unreadable folder":
            box.path.rmdir()
            box.path.write_bytes(GOOD)
        case _:
            box.path.rmdir()

    with pytest.raises(UndeliveredError, match="no model" if kind == "no folder" else r"model\.onnx was rejected"):
        snapshot(box)


@pytest.mark.usefixtures("kept_sandbox")
@pytest.mark.parametrize("kind", ["link", "hard link", "folder", "pipe"])
def test_weights_that_are_no_plain_file_are_not_read(kind: str, box: Sandbox, tmp_path: Path) -> None:
    target, weights = tmp_path / "target", box.path / "model.onnx.data"
    target.write_bytes(WEIGHTS.tobytes())
    box.write_file("model.onnx", external("model.onnx.data"))
    match kind:
        case "link":
            weights.symlink_to(target)
        case "hard link":
            os.link(target, weights)
        case "folder":
            weights.mkdir()
        case _:
            os.mkfifo(weights)

    with pytest.raises(UndeliveredError, match=r"which cannot be its weights|cannot be loaded"):
        predict(snapshot(box), FEATURES)


@pytest.mark.usefixtures("kept_sandbox")
@pytest.mark.parametrize("name", ["w", "sub.data", "Gewichte é.bin", "n" * 200 + ".data", "./w"])
def test_weights_are_found_by_the_name_that_the_model_gives(name: str, box: Sandbox) -> None:
    box.write_file("model.onnx", external(name))
    box.write_file(name, WEIGHTS.tobytes())
    box.write_file("x", b"a name that occurs in every model")

    files = snapshot(box)

    assert sorted(files) == sorted(["model.onnx", name.removeprefix("./")])
    assert predict(files, FEATURES).classes.any()


def test_code_and_tables_are_never_taken_for_weights(box: Sandbox) -> None:
    for name in ("test.csv", "worker.py", "evil.so"):
        box.write_file("model.onnx", external(name))
        box.write_file(name, WEIGHTS.tobytes())

        assert list(snapshot(box)) == ["model.onnx"]


def test_a_model_has_only_so_many_weight_files(box: Sandbox) -> None:
    names = [f"w{i}" for i in range(MAX_WEIGHT_FILES + 1)]
    box.write_file("model.onnx", b"".join(external(name) for name in names))
    for name in names:
        box.write_file(name, b"")

    with pytest.raises(UndeliveredError, match="its weights are in 101 files; 100 are taken at most"):
        snapshot(box)


def test_a_file_name_breaks_no_line(box: Sandbox) -> None:
    name = "a\n\x1b[2Jb"
    box.write_file("model.onnx", external(name))
    box.write_file(name, b"")
    os.truncate(box.path / name, 2**30)

    with pytest.raises(UndeliveredError, match="which cannot be its weights") as caught:
        snapshot(box)
    assert str(caught.value).isprintable()


@pytest.mark.usefixtures("without_torch")
@pytest.mark.parametrize(
    "code",
    [
        "import shutil; shutil.rmtree(os.getcwd())",
        "os.chmod('.', 0)",
        "here = os.getcwd(); os.rename(here, here + '2'); os.symlink('/', here)",
        "here = os.getcwd(); os.rename(here, here + '2'); open(here, 'w').write('x')",
        "os.mkfifo('model.onnx'); os.mkfifo('model.onnx.data')",
        "os.symlink('/dev/zero', 'model.onnx')",
        "open('model.onnx', 'wb').truncate(10 * 2**30)",
        "[open(f'w{i}', 'w') for i in range(5000)]",
    ],
)
def test_a_trial_is_judged_whatever_became_of_its_folder(
    code: str, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_module, "draw", lambda *_, **__: data)
    with OnnxExport().open(42) as episode:
        episode.write_file(path="train.py", content=f"import os\ntry:\n    {code}\nexcept OSError: pass")
        episode.run_python(path="train.py")

        grade = episode.grade()

    assert (grade.score, grade.passed) == (0.0, False)
    assert grade.label in ("no model.onnx", "export rejected")
    assert grade.reason.isprintable()
