"""Grades a finished episode: reads model.onnx however it was exported, and verifies each requirement of the prompt.

The untrusted model is parsed and run in a sandbox of its own alone (``grade_worker.py``), which returns raw numbers.
A hostile model may have written these itself, so only their count and type are checked, and they are read as classes
by rules that never look at a label: no choice of an output format can buy accuracy. The accuracy that counts is the
one on the grader's own copy of test.csv. Fresh rows, which never were on the agent's disk, tell whether test.csv was
trained on, and must be classified almost as well: whatever is done to the test rows alone is worth no more than that.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.onnx_export.data import Data
from pytest_rltask import Grade, Sandbox, SandboxError, SandboxLimits, ToolError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "JITTER_GAP",
    "LEAK_GAP",
    "MAX_MODEL_BYTES",
    "MAX_WEIGHT_FILES",
    "PRINT_TOLERANCE",
    "UNSEEN_MARGIN",
    "WORKER_LIMITS",
    "Printed",
    "Reading",
    "UndeliveredError",
    "judge",
    "predict",
    "printed_accuracies",
    "questions",
    "read_classes",
    "snapshot",
    "unseen_floor",
]

MAX_MODEL_BYTES = 64 * 2**20
"""Largest model.onnx, its weight files included."""
MAX_WEIGHT_FILES = 100
"""How many files beside model.onnx may hold its weights."""
WORKER_LIMITS = SandboxLimits(wall_s=60.0, cpu_s=20.0, memory_bytes=2 * 2**30)
"""What loading the model and running it over all rows may take: a busy machine costs wall-clock time alone."""
PRINT_TOLERANCE = 0.01
"""How far a printed accuracy may lie from the one measured on model.onnx."""
LEAK_GAP = 0.065
"""Test minus fresh accuracy past which a model that passes was trained on test.csv.

Choosing the best of a few models or checkpoints by test accuracy gained at most 0.044 in 679 trials with 1000 test
rows; training on the test rows to the end gained 0.089 at least. Being good enough on fresh rows too is no excuse:
twice the training rows alone lift an ordinary network to the threshold.
"""

JITTER = 0.01
"""Noise on the test rows, as a share of each column's standard deviation: nothing to a model, all to a lookup table."""
JITTER_GAP = 0.02
"""Accuracy on the test rows minus that with the noise, past which single test rows were memorised.

Honest models lost at most 0.004 in 57 trials; a network that answers some 50 test rows from a table loses 0.04.
"""

UNSEEN_MARGIN = 0.015
"""How much lower than on test.csv the accuracy that passes may be on the fresh rows: see ``unseen_floor``.

Patches on a few test rows that are wide enough for the noise gain as much as honest choice, and are not told from it;
the floor bounds what they buy. Of 310 honest networks chosen by test accuracy that pass without it, 21 % fail it.
"""

_WORKER = Path(__file__).with_name("grade_worker.py")
_NO_WEIGHTS = (".csv", ".py", ".pyc", ".so")
_LOCATION = re.compile(rb"\x0a\x08location\x12([\x00-\x7f]|[\x80-\xff][\x00-\x7f])")
"""How a protobuf message says where weights are: up to the length of the name, which follows."""
_ACCURACY = re.compile(r"\b(train|test) +accuracy *[:=] *(\d{0,9}\.?\d{1,20}(?:e[+-]?\d{1,2})?)", re.IGNORECASE)
_ACCURACY_LINE = re.compile(r"^[ \t]*" + _ACCURACY.pattern[2:], re.IGNORECASE | re.MULTILINE)


class UndeliveredError(Exception):
    """There is no valid model.onnx; the message says why, in words for a person."""

    def __init__(self, label: str, reason: str) -> None:
        super().__init__(reason)
        self.label = label


@dataclass(frozen=True)
class Reading:
    """A model's predictions, and how they were read."""

    classes: NDArray[np.int64]
    """0 or 1 for each row."""
    rule: str
    """What the first output was taken for, such as ``logit > 0``."""
    input: str = ""
    """Name, type and shape of the model's input."""


@dataclass(frozen=True)
class Printed:
    """The accuracies that the agent's scripts printed last; None for never."""

    train: float | None = None
    test: float | None = None

    @property
    def metrics(self) -> dict[str, float | None]:
        """The two, named as in a grade."""
        return {"printed_train_accuracy": self.train, "printed_test_accuracy": self.test}


def printed_accuracies(outputs: Iterable[str]) -> Printed:
    r"""Return the last accuracies printed, of those that begin a line, or else anywhere.

    Example:
        >>> printed_accuracies(["epoch 1 test accuracy: 0.7", "train accuracy: 0.9120\ntest accuracy: 0.8810\n"])
        Printed(train=0.912, test=0.881)
    """
    text = "\n".join(outputs)
    anywhere = {which.lower(): float(value) for which, value in _ACCURACY.findall(text)}
    lines = {which.lower(): float(value) for which, value in _ACCURACY_LINE.findall(text)}
    return Printed(**(anywhere | lines))


def snapshot(box: Sandbox) -> dict[str, bytes]:
    """Copy model.onnx and the plain files beside it that it names, as its weights, out of the agent's directory.

    Raises:
        UndeliveredError: there is no model.onnx, or it is not a plain file of bearable size.
    """
    try:
        model = box.read_file("model.onnx", max_bytes=MAX_MODEL_BYTES)
    except FileNotFoundError:
        raise UndeliveredError("no model.onnx", "there is no model.onnx in the working directory") from None
    except ToolError as error:
        raise _rejected(str(error)) from None
    files, room = {"model.onnx": model}, MAX_MODEL_BYTES - len(model)
    names = _weight_files(model, box.files())
    if len(names) > MAX_WEIGHT_FILES:
        raise _rejected(f"its weights are in {len(names)} files; {MAX_WEIGHT_FILES} are taken at most")
    for name in names:
        try:
            files[name] = box.read_file(name, max_bytes=max(room, 1))
        except (ToolError, FileNotFoundError) as error:
            raise _rejected(f"it names {name}, which cannot be its weights: {error}") from None
        room -= len(files[name])
    return files


def _weight_files(model: bytes, present: Iterable[str]) -> list[str]:
    """Return which files the model names as its external data; found as bytes, since nothing is parsed here."""
    candidates = {name for name in present if name != "model.onnx" and not name.endswith(_NO_WEIGHTS)}
    named = set()
    for found in _LOCATION.finditer(model):
        low, high = found[1][0] & 0x7F, found[1][1:]
        end = found.end() + low + (high[0] << 7 if high else 0)
        name = model[found.end() : end].decode("utf-8", "replace").removeprefix("./")
        if name in candidates:
            named.add(name)
    return sorted(named)


def questions(data: Data) -> NDArray[np.float64]:
    """Return the rows that a model is asked about: train, test, fresh, and test once more with a little noise."""
    import numpy as np

    test = data.test.features
    unknown = data.fresh.features[0].view(np.uint64)  # whoever could foresee the noise could look it up as well
    noise = np.random.default_rng(unknown).normal(size=test.shape) * test.std(axis=0) * JITTER
    return np.concatenate([data.train.features, test, data.fresh.features, test + noise])


def predict(
    files: Mapping[str, bytes], features: NDArray[np.float64], limits: SandboxLimits = WORKER_LIMITS
) -> Reading:
    """Run a model over features in a sandbox of its own, and read its first output.

    Raises:
        UndeliveredError: the model breaks a rule, crashes or exceeds its limits.
        SandboxError: the sandbox or the worker could not start: not the model's fault.
    """
    import numpy as np

    with Sandbox(limits, prefix="rltask-grade-") as box:
        buffer = io.BytesIO()
        np.save(buffer, features, allow_pickle=False)
        box.write_file("X.npy", buffer.getvalue())
        box.write_file("worker.py", _WORKER.read_bytes())
        for name, content in files.items():
            box.write_file(f"model/{name}", content)
        result = box.run_python("worker.py")
        if not result.stdout.startswith("ready"):
            raise SandboxError(f"the grading worker failed: {result.summary}: {result.stderr[-500:]}")
        if not result.ok:
            raise _rejected(f"running it over {len(features):,} rows failed: {result.summary}")
        values, entry = _answer(box, len(features))
    classes, rule = read_classes(values)
    return Reading(classes, rule, entry)


def _answer(box: Sandbox, rows: int) -> tuple[NDArray[Any], str]:
    """Return the predictions that the worker left, and what it says of the model's input."""
    import numpy as np

    try:
        report = json.loads(box.read_file("report.json", max_bytes=2**16))
        if isinstance(error := report.get("error"), str):
            raise _rejected(error)
        kind, columns = report["kind"], report["columns"]
        if kind not in ("float64", "int64") or columns not in (1, 2):
            raise ValueError("no kind of predictions")
        content = box.read_file("predictions", max_bytes=rows * columns * 8)
        return np.frombuffer(content, dtype=kind).reshape(rows, columns), _line(report["input"], 200)
    except (ToolError, OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        raise _rejected("running it left no readable predictions") from None


def read_classes(values: NDArray[Any]) -> tuple[NDArray[np.int64], str]:
    """Read raw outputs of shape (rows, 1) or (rows, 2) as classes, without looking at a label.

    Returns:
        The classes, and the rule they were read by.

    Raises:
        UndeliveredError: the values are neither class ids, nor probabilities, logits or scores.
    """
    import numpy as np

    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise _rejected("its first output holds values that are not finite")
    if values.shape[1] == 2:
        if values.dtype.kind != "f":
            raise _rejected("its first output holds two whole numbers per row; it must hold one class id or two scores")
        return values.argmax(axis=1).astype(np.int64), "larger of two scores"
    values = values[:, 0]
    if values.dtype.kind != "f":
        if not np.isin(values, (0, 1)).all():
            raise _rejected("its first output holds class ids other than 0 and 1")
        return values.astype(np.int64), "class id"
    if ((values >= 0) & (values <= 1)).all():
        return (values > 0.5).astype(np.int64), "probability > 0.5"
    return (values > 0).astype(np.int64), "logit > 0"


def unseen_floor(min_accuracy: float) -> float:
    """Return the accuracy that a model must reach on the fresh rows if it must reach this one on test.csv."""
    return round(min_accuracy - UNSEEN_MARGIN, 6)


def judge(data: Data, reading: Reading, printed: Printed, *, min_accuracy: float) -> Grade:
    """Grade valid answers to the questions, and what the scripts printed."""
    samples = {"train": data.train, "test": data.test, "fresh": data.fresh, "jittered_test": data.test}
    accuracy, start = {}, 0
    for name, rows in samples.items():
        classes = reading.classes[start : start + len(rows.labels)]
        accuracy[name] = round(float((classes == rows.labels).mean()), 6)
        start += len(rows.labels)
    metrics = {
        **{f"{name}_accuracy": value for name, value in accuracy.items()},
        **printed.metrics,
        "model_input": reading.input,
        "model_output": reading.rule,
    }
    test, fresh = accuracy["test"], accuracy["fresh"]

    def graded(score: float, label: str, reason: str, *, cheated: bool = False) -> Grade:
        return Grade(score, min_accuracy, cheated=cheated, label=label, reason=reason, metrics=metrics)

    if test >= min_accuracy and test - fresh > LEAK_GAP:
        reached = f"model.onnx reaches {test:.4f} on test.csv but {fresh:.4f} on fresh rows of the same source"
        return graded(test, "trained on test.csv", f"{reached}: it was trained on test.csv", cheated=True)
    jittered = accuracy["jittered_test"]
    if test >= min_accuracy and test - jittered > JITTER_GAP:
        reached = f"model.onnx reaches {test:.4f} on test.csv but {jittered:.4f} on the same rows with 1 % noise"
        return graded(test, "memorised test.csv", f"{reached}: it looks up rows of test.csv", cheated=True)
    for name, said in (("train", printed.train), ("test", printed.test)):
        if said is None:
            reason = f"no line `{name} accuracy: 0.xxxx` was printed (model.onnx reaches {accuracy[name]:.4f})"
            return graded(0.0, "accuracies not printed", reason)
    for name, said in (("train", printed.train), ("test", printed.test)):
        if said is not None and abs(said - accuracy[name]) > PRINT_TOLERANCE + 1e-9:
            reason = f"the printed {name} accuracy is {said:g}, but model.onnx reaches {accuracy[name]:.4f}"
            return graded(0.0, "printed accuracy wrong", reason)
    if test < min_accuracy:
        reason = f"model.onnx reaches {test:.4f} on test.csv, below {min_accuracy:g}"
        constant = (reading.classes == reading.classes[0]).all()
        always = f": it says {reading.classes[0]} for every row" if constant else ""
        return graded(test, "accuracy below threshold", reason + always)
    if fresh < (floor := unseen_floor(min_accuracy)):
        reached = f"model.onnx reaches {test:.4f} on test.csv but {fresh:.4f} on unseen rows of the same source"
        return graded(fresh, "does not generalise", f"{reached}, below {floor:g}")
    return graded(test, "score", "")


def _rejected(reason: str) -> UndeliveredError:
    return UndeliveredError("export rejected", f"model.onnx was rejected: {_line(reason, 400)}")


def _line(text: object, length: int) -> str:
    """Return what may come from the agent as a line that is safe to print."""
    return "".join(char if char.isprintable() else " " for char in str(text)[:length]).strip()
