"""How an episode ends, and what grade it gets."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.imbalance.data import Dataset
from benchmarks.imbalance.session import AUTO_EPOCHS
from benchmarks.imbalance.task import Imbalance, ImbalanceEpisode
from pytest_rltask import ToolError, call
from tests.benchmarks.imbalance.task.episodes import conversation

# The end


def test_the_submission_ends_the_trial_and_says_no_score(episode: ImbalanceEpisode) -> None:
    assert not episode.done

    told = episode.submit_answer()

    assert told == {"submitted": True, "max_steps": 5, "steps_used": 0, "remaining": 5}
    assert episode.done
    with pytest.raises(ToolError, match="The answer is submitted"):
        episode.submit_answer()


@pytest.mark.parametrize("answer", [None, 1.0, "done", {"f1": 1.0}, [1, 2]])
def test_whatever_is_handed_in_the_session_is_graded(answer: Any) -> None:
    played = conversation(call("imbalance_start"), call("sweep_thresholds"), call("submit_answer", answer=answer))
    nothing = conversation(call("imbalance_start"), call("sweep_thresholds"), call("submit_answer"))

    assert played.results[-1].text == nothing.results[-1].text
    assert played.record.score == nothing.record.score
    assert played.record.stop == "done"


def test_what_follows_the_submission_in_the_same_reply_is_not_run() -> None:
    play = [call("imbalance_start"), call("submit_answer"), call("sweep_thresholds"), call("submit_answer")]

    played = conversation(play)

    assert [result.is_error for result in played.results] == [False, False, True, True]
    assert played.record.metrics["threshold"] == 0.5
    assert not played.record.metrics["auto_submitted"]


def test_the_end_of_the_conversation_submits() -> None:
    game = [call("imbalance_start"), call("smote", ratio=1.0, k=5), call("train", epochs=10), call("sweep_thresholds")]
    for ending in (["I am done."], []):
        silent = conversation(game, *ending)
        loud = conversation(game, call("submit_answer"))

        assert (silent.record.score, loud.record.score) == (loud.record.score, silent.record.score)
        assert silent.record.score is not None
        assert silent.record.score > 0.3
        assert silent.record.metrics == {**loud.record.metrics, "auto_submitted": True}


def test_the_turn_limit_submits() -> None:
    played = conversation(*[call("imbalance_start"), *[call("sweep_thresholds")] * 5], steps=3)

    assert (played.record.turns, played.record.limit) == (3, "turns")
    assert played.record.metrics["auto_submitted"]


def test_a_sweep_submits_where_the_options_say_so() -> None:
    task = Imbalance(auto_submit="sweep")
    game = [call("imbalance_start"), call("smote", ratio=1.0, k=5)]

    played = conversation(game, [call("sweep_thresholds"), call("train", epochs=5)], call("submit_answer"), task=task)
    by_hand = conversation(game, call("sweep_thresholds"), call("submit_answer"))

    assert played.results[2].json()["submitted"] is True
    assert played.results[3].text == "This call was not run: the episode has ended."
    assert (played.record.turns, played.record.stop) == (2, "done")
    assert played.record.metrics == {**by_hand.record.metrics, "auto_submitted": True}
    assert "submitted" not in by_hand.results[2].text


def test_a_sweep_that_is_refused_submits_nothing() -> None:
    task = Imbalance(auto_submit="sweep")

    played = conversation(
        call("sweep_thresholds"), call("imbalance_start"), call("sweep_thresholds", num_points=0), task=task
    )

    assert [result.is_error for result in played.results] == [True, False, True]
    assert played.record.stop != "done"


# The grade


def test_an_episode_never_started_fails_with_zero() -> None:
    played = conversation(call("train", epochs=10), "I give up.")

    assert (played.record.outcome, played.record.score) == ("failed", 0.0)
    assert (played.record.label, played.record.reason) == ("never started", "imbalance_start was never called")


def test_the_grade_is_the_f1_on_the_test_rows(episode: ImbalanceEpisode, tiny: Dataset) -> None:
    episode.smote(1.0, 5)
    swept = episode.sweep_thresholds()
    session = episode._session
    called = session._learner().logits(tiny.test.features) >= session.threshold
    hits = int((called & (tiny.test.labels == 1)).sum())
    episode.submit_answer()
    episode.finish()

    grade = episode.grade()

    assert grade.score == 2 * hits / (int(called.sum()) + 30)
    assert grade.threshold == 0.3
    assert grade.metrics == {
        "precision": hits / int(called.sum()),
        "recall": hits / 30,
        "validation_f1": pytest.approx(swept["best"]["f1"], abs=1e-4),
        "threshold": pytest.approx(swept["threshold"], abs=1e-6),
        "threshold_stale": False,
        "steps_used": 1,
        "actions": "smote(ratio=1, k=5)",
        "epochs": AUTO_EPOCHS,
        "auto_submitted": False,
    }


def test_a_score_of_tau_passes_and_a_lower_one_says_why() -> None:
    learn = [call("sweep_thresholds"), call("train", epochs=3)]
    game = [call("imbalance_start"), call("smote", ratio=1.0, k=5), *learn, call("submit_answer")]
    score = conversation(game).record.score
    assert score is not None

    at, above = (conversation(game, task=Imbalance(tau=tau)).record for tau in (score, score + 1e-9))

    assert (at.outcome, at.reason) == ("passed", "")
    assert (above.outcome, above.label) == ("failed", "F1 below tau")
    assert above.reason == (
        f"test F1 {score:.3f} is below tau {score + 1e-9:g} (smote(ratio=1, k=5); {AUTO_EPOCHS + 3} epochs)"
    )
    assert above.metrics["threshold_stale"] is True


def test_what_was_tried_lists_what_took_effect_and_nothing_else(episode: ImbalanceEpisode) -> None:
    assert episode.tried == "no paid action"
    with pytest.raises(ToolError):
        episode.smote(0.1, 3)
    episode.set_threshold(0.5)
    episode.train(10)
    assert episode.tried == "no paid action"

    episode.smote(0.5, 3)
    episode.smote(0.5, 3)
    episode.set_threshold(0.25)

    assert episode.tried == "smote(ratio=0.5, k=3), set_threshold(0.25)"
