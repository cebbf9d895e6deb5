"""What leaves a session: results without test rows and without NaN, and words that mislead no model."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.imbalance.data import Dataset, Part
from benchmarks.imbalance.session import MAX_LR, Session
from pytest_rltask import ToolError
from tests.benchmarks.imbalance.session.game import PAID, SEED, SET, SWEEP, TRAIN, Action, do, refusal

# What leaves a session


WHOLE_GAME: list[Action] = [
    ("state", ()),
    ("eval_on_val", ()),
    SWEEP,
    PAID["smote"],
    PAID["smote"],
    ("train", (10, MAX_LR)),
    ("eval_on_val", ()),
    PAID["focal"],
    ("sweep_thresholds", (101,)),
    SET,
    ("budget", ()),
    ("eval_on_val", ()),
]


def test_no_result_depends_on_the_test_rows(tiny: Dataset) -> None:
    garbage = Part(np.full((3, 1), np.nan, dtype=np.float32), np.array([1, 0, 7], dtype=np.int8))
    honest, blind = (Session(data, seed=SEED, max_steps=9) for data in (tiny, replace(tiny, test=garbage)))

    told = do(honest, *WHOLE_GAME)

    assert told == do(blind, *WHOLE_GAME)
    honest.submit(), blind.submit()
    assert honest.budget() == blind.budget()


def test_every_result_is_json_without_nan(rich: Session) -> None:
    for result in do(rich, *WHOLE_GAME):
        assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize(
    "action",
    [
        *PAID.values(),
        ("set_class_weights", (0.0,)),
        ("set_threshold", (0.5,)),
        SET,
        TRAIN,
        SWEEP,
        ("eval_on_val", ()),
        ("submit", ()),
    ],
    ids=str,
)
def test_nothing_changes_after_the_submission(action: Action, rich: Session) -> None:
    do(rich, PAID["focal"], TRAIN)
    graded = rich.test()
    assert rich.submit() is None

    assert "The answer is submitted" in refusal(rich, action[0], *action[1])
    assert rich.test() == graded
    assert rich.is_submitted


# What the results say, where a model had been misled


def test_what_used_up_the_free_epochs_says_what_comes_next(session: Session) -> None:
    assert "next" not in session.train(4, 0.001)
    assert "until smote, set_class_weights or use_focal changes the configuration" in session.train(6, 0.001)["next"]

    with pytest.raises(ToolError, match="0 of 10 free epochs are left for this configuration; nothing was changed"):
        session.train(1, 0.001)
    while session.budget()["remaining"]:
        session.set_threshold(0.1 + 0.01 * session.budget()["remaining"])
    with pytest.raises(ToolError, match="no paid action is left: call sweep_thresholds, then submit_answer"):
        session.train(1, 0.001)
