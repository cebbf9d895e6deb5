"""Runs an untrusted model.onnx over rows of features: the only code that ever loads it.

The grader copies this file into a fresh sandbox beside ``X.npy`` and ``model/`` and starts it there. It sees no
label, so whatever a hostile model makes it do, it can only answer with predictions: ``predictions`` holds the raw
numbers of the first output, one row per row of features, and ``report.json`` their type and width and how the model
was called, or why it cannot be.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnxruntime as ort

FLOATS: dict[str, Any] = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
PRODUCER = "pytorch"
"""What torch.onnx writes into every model, by either of its exporters."""


def main() -> None:
    """Answer ``X.npy`` with ``predictions`` and ``report.json``."""
    features = np.load("X.npy", allow_pickle=False)
    sys.stdout.write("ready\n")
    sys.stdout.flush()  # from here on, whatever goes wrong is the model's doing
    session = load()
    try:
        check_producer(session)
        batch, entry = expected_input(session, features.shape[1])
        with np.errstate(over="ignore"):
            rows = features.astype(FLOATS[entry.type])
        predictions = np.concatenate(list(run(session, entry, rows, batch)))[: len(features)]
        kind = "float64" if predictions.dtype.kind == "f" else "int64"
        Path("predictions").write_bytes(predictions.astype(kind).tobytes())
        said = f"{entry.name}: {entry.type} {entry.shape}"
    except Exception as error:  # even its names may be no text
        reject(f"running it failed: {first_line(error)}")
    report(kind=kind, columns=predictions.shape[1], input=said[:500])


def load() -> Any:
    """Open the model with one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession("model/model.onnx", options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reject(f"it cannot be loaded: {first_line(error)}")


def check_producer(session: Any) -> None:
    """Reject a model that another exporter made."""
    producer = session.get_modelmeta().producer_name
    if producer not in (PRODUCER, ""):  # tools that edit an export may drop the name, and are welcome
        reject(f"it must be exported by torch.onnx, but it names {producer!r} as its producer")


def expected_input(session: Any, columns: int) -> tuple[int | None, Any]:
    """Return the batch size the model was fixed to (0: single rows, None: any) and its one input."""
    inputs = session.get_inputs()
    if len(inputs) != 1:
        reject(f"it must have one input, but it has {len(inputs)}")
    entry = inputs[0]
    if entry.type not in FLOATS:
        reject(f"its input must hold float32, float64 or float16 numbers, but it is {entry.type}")
    sizes = [size if isinstance(size, int) and size > 0 else None for size in entry.shape]
    if len(sizes) not in (1, 2) or sizes[-1] not in (None, columns):
        reject(f"its input must have shape (batch, {columns}) or ({columns},), but it has {entry.shape}")
    return (sizes[0] if len(sizes) == 2 else 0), entry


def run(session: Any, entry: Any, rows: np.ndarray, batch: int | None) -> Iterator[np.ndarray]:
    """Yield the first output in pieces of shape (rows, values per row); the last piece may be padded."""
    if not session.get_outputs():
        reject("it has no output")
    output = session.get_outputs()[0].name
    size = len(rows) if batch is None else max(batch, 1)
    for start in range(0, len(rows), size):
        piece = rows[start : start + size]
        if missing := size - len(piece):
            piece = np.concatenate([piece, np.repeat(piece[-1:], missing, axis=0)])
        (answer,) = session.run([output], {entry.name: piece[0] if batch == 0 else piece})
        yield per_row(answer, size)


def per_row(answer: Any, rows: int) -> np.ndarray:
    """Return an answer as (rows, values per row)."""
    if not isinstance(answer, np.ndarray) or answer.dtype.kind not in "biuf":
        kind = answer.dtype if isinstance(answer, np.ndarray) else type(answer).__name__
        reject(f"its first output must hold numbers, but it holds {kind}")
    if rows > 1 and (answer.ndim == 0 or len(answer) != rows):
        reject(f"its first output has shape {answer.shape} for {rows} rows; its first dimension must be the rows")
    if answer.size not in (rows, 2 * rows):
        reject(f"its first output has shape {answer.shape} for {rows} rows; it must hold one or two values per row")
    return answer.reshape(rows, -1)


def first_line(error: Exception) -> str:
    """Return an error's first line, cut, without the sandbox's own path."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].replace(f"{Path.cwd()}/", "")[:300]


def reject(reason: str) -> NoReturn:
    """Report why the model is no valid export."""
    report(error=reason[:500])
    sys.exit(0)


def report(**said: object) -> None:
    """Leave the report for the grader."""
    Path("report.json").write_text(json.dumps(said), encoding="utf-8")


if __name__ == "__main__":
    main()
