"""What a series proves, kept up with trial by trial: the same as looking through all of it, without doing so."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pytest_rltask.run.amendments import Amendments
from pytest_rltask.run.ledger import Standing
from pytest_rltask.suite.proving import Series
from pytest_rltask.task import Band
from pytest_rltask.verdict import Proof, Tally, first_proof
from tests.suite.test_stopping import Process, plan, record

IDS = [f"run-{n}" for n in range(12)]


def looked_through(known: dict[str, Standing]) -> Proof | None:
    """Say what trials prove, by looking through all of them."""
    if any(one.how == "spoils" for one in known.values()):
        return None
    until = min((one.at for one in known.values() if one.how == "open"), default="~")
    ended = [known[trial_id] for trial_id in IDS if trial_id in known and known[trial_id].how == "ended"]
    ended.sort(key=lambda one: one.at)
    return first_proof([one.outcome for one in ended if one.at < until], band=Band())


@pytest.mark.parametrize("seed", range(20))
def test_a_series_kept_up_with_proves_what_looking_through_all_of_it_does(seed: int):
    rng, series, known, proofs = random.Random(seed), Series(IDS, Band()), {}, 0
    for _ in range(200):
        trial_id, how = rng.choice(IDS), rng.choice(["ended"] * 12 + ["open", "spoils", "gone"])
        outcome = rng.choice([True] * 9 + [False, None])
        now = None if how == "gone" else Standing(str(rng.randrange(10)), how, outcome if how == "ended" else None)
        series.take_in(trial_id, now)
        known.pop(trial_id, None)
        if now is not None:
            known[trial_id] = now

        proof = series.proof()
        assert proof == looked_through(known)
        proofs += proof is not None

    assert proofs, "none on the way"


def test_to_ask_before_each_trial_looks_at_each_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    looks = {"records": 0, "tallies": 0}
    counted, after = Amendments.counted, Tally.after

    def counting(self: Amendments, records: object) -> object:
        looks["records"] += 1
        return counted(self, records)

    def adding(self: Tally, outcome: bool | None) -> Tally:
        looks["tallies"] += 1
        return after(self, outcome)

    monkeypatch.setattr(Amendments, "counted", counting)
    monkeypatch.setattr(Tally, "after", adding)
    trials = plan(50)
    process = Process(tmp_path / "run", "main", trials, stop_early=True)
    for n, trial in enumerate(trials):
        assert process.ask(trial.trial_id) is None, n
        process.writer.append(record(trial, "passed" if n % 4 == 0 else "failed"))

    assert looks["tallies"] <= 50
    assert looks["records"] <= 2 * 50  # once when it begins, once when it has ended
