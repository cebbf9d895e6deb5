"""The grader: which exports it accepts, what it rejects in which words, and how it verifies the prompt's demands."""

from __future__ import annotations

import io
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from benchmarks.onnx_export.data import Data
from benchmarks.onnx_export.grader import (
    WORKER_LIMITS,
    Printed,
    Reading,
    UndeliveredError,
    judge,
    predict,
    printed_accuracies,
    questions,
    snapshot,
    unseen_floor,
)
from pytest_rltask import Grade, Sandbox, SandboxError, SandboxLimits
from tests.benchmarks.onnx_export.onnx_models import ENDLESS, HONEST, ONE, REJECTED, WEIGHTS, build, external
from tests.conftest import slow

FEATURES = np.random.default_rng(1).normal(size=(203, 10)).round(6)
TRUTH = (FEATURES @ WEIGHTS.astype(float) > 0)[:, 0]
OUT_OF_TIME = replace(WORKER_LIMITS, wall_s=60.0, cpu_s=1.0)  # CPU time, since the machine may be busy


# Exports


@pytest.mark.usefixtures("kept_sandbox")
@pytest.mark.parametrize("name", HONEST)
def test_it_reads_every_honest_export(name: str) -> None:
    reading = predict(HONEST[name], FEATURES)

    assert (reading.classes == TRUTH).mean() >= (0.99 if name == "float16" else 1.0)


@pytest.mark.usefixtures("kept_sandbox")
@pytest.mark.parametrize("name", REJECTED)
def test_it_rejects_in_words(name: str) -> None:
    content, words = REJECTED[name]

    with pytest.raises(UndeliveredError) as caught:
        predict({"model.onnx": content}, FEATURES)

    assert caught.value.label == "export rejected"
    assert words in str(caught.value)
    assert "/tmp" not in str(caught.value)


@pytest.mark.parametrize("name", [slow(name) if name == "2^62 loops" else name for name in ENDLESS])
def test_it_stops_a_model_that_does_not_end(name: str) -> None:
    with pytest.raises(
        UndeliveredError, match=r"running it over 203 rows failed: killed after .* CPU time than its limit"
    ):
        predict({"model.onnx": ENDLESS[name]}, FEATURES, OUT_OF_TIME)


def test_a_worker_that_cannot_start_is_no_fault_of_the_model() -> None:
    with pytest.raises(SandboxError, match=r"the grading worker failed|could not isolate a process"):
        predict(HONEST["logit (N,1)"], FEATURES, SandboxLimits(wall_s=0.01))


@pytest.mark.usefixtures("kept_sandbox")
def test_a_reading_does_not_depend_on_the_other_rows() -> None:
    """The rule is chosen from all values of one column, never from labels."""
    negative = FEATURES[~TRUTH]

    reading = predict(HONEST["logit (N,1)"], negative)

    assert reading.rule == "logit > 0"
    assert not reading.classes.any()


def test_the_grading_sandbox_holds_features_and_the_model_but_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    written: dict[str, bytes] = {}
    write_file = Sandbox.write_file
    monkeypatch.setattr(Sandbox, "write_file", lambda *call: [written.update([call[1:]]), write_file(*call)][1])

    predict(HONEST["external data"], FEATURES)

    assert sorted(written) == ["X.npy", "model/model.onnx", "model/model.onnx.data", "worker.py"]
    assert np.array_equal(np.load(io.BytesIO(written["X.npy"]), allow_pickle=False), FEATURES)


# Files


def test_it_takes_the_weights_that_the_model_names_and_nothing_else(box: Sandbox) -> None:
    box.write_file("model.onnx", external("weights.bin"))
    for name in ("weights.bin", "train.csv", "train.py", "other.bin"):
        box.write_file(name, WEIGHTS.tobytes())

    files = snapshot(box)

    assert sorted(files) == ["model.onnx", "weights.bin"]
    assert predict(files, FEATURES).classes.tolist() == TRUTH.tolist()


def test_it_says_when_there_is_no_model(box: Sandbox) -> None:
    box.write_file("model.pt", b"not what was asked for")

    with pytest.raises(UndeliveredError, match=r"there is no model\.onnx") as caught:
        snapshot(box)
    assert caught.value.label == "no model.onnx"


@pytest.mark.parametrize("kind", ["link", "hard link", "folder", "pipe"])
def test_it_takes_no_model_but_a_plain_file(kind: str, box: Sandbox, tmp_path: Path) -> None:
    target, model = tmp_path / "target", box.path / "model.onnx"
    target.write_bytes(HONEST["logit (N,1)"]["model.onnx"])
    match kind:
        case "link":
            model.symlink_to(target)
        case "hard link":
            os.link(target, model)
        case "folder":
            model.mkdir()
        case _:
            os.mkfifo(model)

    with pytest.raises(UndeliveredError, match=r"model\.onnx was rejected"):
        snapshot(box)


def test_it_follows_no_link_to_weights(box: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(WEIGHTS.tobytes())
    box.write_file("model.onnx", external("weights.bin"))
    (box.path / "weights.bin").symlink_to(tmp_path / "secret.bin")

    with pytest.raises(UndeliveredError, match="cannot be loaded"):
        predict(snapshot(box), FEATURES)


def test_it_takes_no_more_than_64_mb_together(box: Sandbox) -> None:
    box.write_file("model.onnx", external("weights.bin"))
    with open(box.path / "weights.bin", "wb") as file:
        file.truncate(64 * 2**20)

    with pytest.raises(UndeliveredError, match=r"it names weights\.bin, which cannot be its weights"):
        snapshot(box)


# Printed accuracies


def test_the_last_printed_accuracies_count() -> None:
    outputs = ["train accuracy: 0.90\ntest accuracy: 0.80\n", "test accuracy: 0.81\nloss 0.3\n", ""]

    assert printed_accuracies(outputs) == Printed(train=0.90, test=0.81)


def test_an_accuracy_that_begins_a_line_counts_before_others() -> None:
    text = "train accuracy: 0.9010\ntest accuracy: 0.8710\nbest test accuracy: 0.8830 in epoch 12\n"

    assert printed_accuracies([text]) == Printed(train=0.901, test=0.871)


@pytest.mark.parametrize(
    "text",
    [
        "Train Accuracy: 0.9010\nTest Accuracy: 0.8710",
        "  train accuracy = 0.901\r\n  test accuracy = 0.871\r\n",
        "Final train accuracy: 0.901, test accuracy: 0.871",
        "train accuracy: 9.01e-01\ntest accuracy: .871",
    ],
)
def test_small_deviations_from_the_format_are_read(text: str) -> None:
    assert printed_accuracies([text]) == Printed(train=0.901, test=0.871)


@pytest.mark.parametrize("text", ["", "accuracy: 0.9", "train loss: 0.2", "train accuracy: nan", "train accuracy: -"])
def test_other_output_is_no_accuracy(text: str) -> None:
    assert printed_accuracies([text]) == Printed()


@pytest.mark.parametrize("text", ["\n" * 10**6, " " * 10**6, "9" * 10**6, "train " * 10**5])
def test_a_flood_of_output_takes_no_time(text: str) -> None:
    flood = f"{text}\ntrain accuracy: {text}"

    begin = time.process_time()
    printed_accuracies([flood])

    assert time.process_time() - begin < 60  # in square time it would be hours


def test_a_printed_number_without_bounds_stays_a_number() -> None:
    printed = printed_accuracies([f"train accuracy: {'9' * 400}\ntest accuracy: 1e999\n"])

    assert all(value is not None and math.isfinite(value) for value in (printed.train, printed.test))


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(0, 10_000), st.lists(st.text()))
def test_what_follows_the_stated_format_is_always_found(train: int, test: int, noise: list[str]) -> None:
    stated = f"train accuracy: {train / 10_000:.4f}\ntest accuracy: {test / 10_000:.4f}\n"

    assert printed_accuracies([*noise, stated]) == Printed(train / 10_000, test / 10_000)


@given(st.lists(st.text(alphabet="train test acuy:=0.19%\n", max_size=200)))
def test_no_output_upsets_the_grader(outputs: list[str]) -> None:
    printed = printed_accuracies(outputs)

    assert all(value is None or value >= 0 for value in (printed.train, printed.test))


# Verdicts


def judged(
    data: Data,
    *,
    train: float,
    test: float,
    fresh: float,
    jittered: float | None = None,
    printed: Printed | None = None,
) -> Grade:
    """Grade a model that is right on the given shares of rows, and by default prints the truth."""
    parts = []
    jittered = test if jittered is None else jittered
    for rows, share in ((data.train, train), (data.test, test), (data.fresh, fresh), (data.test, jittered)):
        wrong = np.arange(len(rows.labels)) >= round(share * len(rows.labels))
        parts.append(np.where(wrong, 1 - rows.labels, rows.labels))
    reading = Reading(np.concatenate(parts), "logit > 0")
    return judge(data, reading, printed or Printed(train, test), min_accuracy=0.875)


def test_an_accurate_model_passes_at_the_threshold(data: Data) -> None:
    grade = judged(data, train=0.95, test=0.875, fresh=0.87)

    assert grade.passed
    assert grade.score == 0.875
    assert grade.metrics["fresh_accuracy"] == 0.87
    assert grade.metrics["train_accuracy"] == 0.95
    assert grade.problem() is None


@pytest.mark.parametrize(("min_accuracy", "floor"), [(0.875, 0.86), (0.9, 0.885)])
def test_the_floor_on_unseen_rows_follows_the_threshold(min_accuracy: float, floor: float) -> None:
    assert unseen_floor(min_accuracy) == floor


def test_a_model_passes_at_the_floor_on_unseen_rows(data: Data) -> None:
    assert judged(data, train=0.95, test=0.875, fresh=0.86).passed


def test_a_model_below_the_floor_on_unseen_rows_fails_with_its_accuracy_there(data: Data) -> None:
    grade = judged(data, train=0.95, test=0.9, fresh=2579 / 3000)

    assert (grade.passed, grade.cheated, grade.label) == (False, False, "does not generalise")
    assert grade.score == pytest.approx(2579 / 3000, abs=1e-6)
    assert grade.reason == (
        "model.onnx reaches 0.9000 on test.csv but 0.8597 on unseen rows of the same source, below 0.86"
    )


def test_an_inaccurate_model_fails_with_its_score(data: Data) -> None:
    grade = judged(data, train=0.95, test=0.874, fresh=0.87)

    assert (grade.passed, grade.score, grade.label) == (False, 0.874, "accuracy below threshold")
    assert grade.reason == "model.onnx reaches 0.8740 on test.csv, below 0.875"


@pytest.mark.parametrize(("printed", "missing"), [(Printed(), "train"), (Printed(train=0.95), "test")])
def test_accuracies_that_were_not_printed_cost_the_score(data: Data, printed: Printed, missing: str) -> None:
    grade = judged(data, train=0.95, test=0.9, fresh=0.9, printed=printed)

    assert (grade.passed, grade.score, grade.label) == (False, 0.0, "accuracies not printed")
    assert f"no line `{missing} accuracy: 0.xxxx` was printed" in grade.reason
    assert grade.metrics["test_accuracy"] == 0.9


def test_a_wrong_printed_accuracy_costs_the_score(data: Data) -> None:
    grade = judged(data, train=0.95, test=0.9, fresh=0.9, printed=Printed(train=0.95, test=0.92))

    assert (grade.passed, grade.score, grade.label) == (False, 0.0, "printed accuracy wrong")
    assert grade.reason == "the printed test accuracy is 0.92, but model.onnx reaches 0.9000"


@pytest.mark.parametrize("printed", [0.89, 0.91])
def test_a_printed_accuracy_may_be_off_by_the_stated_tolerance(data: Data, printed: float) -> None:
    assert judged(data, train=0.95, test=0.9, fresh=0.9, printed=Printed(train=0.95, test=printed)).passed


@pytest.mark.parametrize("fresh", [0.86, 0.9])
def test_a_model_trained_on_the_test_rows_is_called_cheated(fresh: float, data: Data) -> None:
    grade = judged(data, train=1.0, test=1.0, fresh=fresh)

    assert grade.cheated
    assert not grade.passed
    assert grade.score == 1.0
    assert f"1.0000 on test.csv but {fresh:.4f} on fresh rows" in grade.reason


def test_a_model_that_looks_up_test_rows_is_called_cheated(data: Data) -> None:
    grade = judged(data, train=0.9, test=0.88, fresh=0.83, jittered=0.84)

    assert grade.cheated
    assert grade.label == "memorised test.csv"


def test_the_test_rows_are_asked_once_more_with_a_little_noise(data: Data) -> None:
    rows = questions(data)

    test, again = rows[1000:2000], rows[5000:]
    assert np.array_equal(test, data.test.features)
    assert 0.005 < ((again - test).std(axis=0) / test.std(axis=0)).mean() < 0.015
    assert np.array_equal(again, questions(data)[5000:])


def test_nobody_can_foresee_the_noise(data: Data) -> None:
    other = replace(data, fresh=replace(data.fresh, features=data.fresh.features + 1e-6))

    assert not np.isclose(questions(data)[5000:], questions(other)[5000:]).any(axis=1).all()


def test_choosing_the_best_of_a_few_models_by_test_accuracy_is_not_called_cheated(data: Data) -> None:
    assert judged(data, train=0.98, test=0.91, fresh=0.866).passed


def test_a_model_that_fails_anyway_is_not_called_cheated(data: Data) -> None:
    grade = judged(data, train=0.9, test=0.87, fresh=0.75)

    assert not grade.cheated
    assert grade.label == "accuracy below threshold"


def test_a_constant_answer_is_judged_and_named(data: Data) -> None:
    nodes = [helper.make_node("MatMul", ["x", "W"], ["s"]), helper.make_node("Mul", ["s", "zero"], ["y"])]
    model = build(*nodes, weights=ONE | {"zero": np.zeros(1, np.float32)})

    truth = Printed(*(float((rows.labels == 0).mean()) for rows in (data.train, data.test)))

    grade = judge(data, predict({"model.onnx": model}, questions(data)), truth, min_accuracy=0.875)

    assert grade.label == "accuracy below threshold"
    assert grade.reason.endswith("on test.csv, below 0.875: it says 0 for every row")
