"""What commit 97dd2a8 wrote, `tests/data/runs/97dd2a8`, and how each of its trials ended."""

from __future__ import annotations

from pathlib import Path

from pytest_rltask.run.record import Outcome, Record

WRITTEN = Path(__file__).parents[1] / "data" / "runs" / "97dd2a8"
PEEKED = "tool peek: KeyError: 'a bug of the task'"
DIED = "the process that played the trial died: killed, out of memory, or a crash of native code"
OVERRULED = "the test's assertion overruled the grader, which said"
UNKNOWN = "an earlier version did not record what graded it"

Told = tuple[Outcome, str, str, float | None, bool | None]
"""Outcome, label, reason, score, and whether the grader passed it."""
FOUND: Told = ("passed", "", "", 1.0, True)
NOT_FOUND: Told = ("failed", "not found", "not tried", 0.0, False)
CHEATED: Told = ("cheated", "minus one", "guessed -1", 1.0, False)
FAULTY: Told = ("errored", "task fault", PEEKED, None, None)
LIMIT = "not 1, 2, 3, 4 (ended by: tool-call limit)"

POLICIES: dict[str, Told] = {
    "guess[run-00]": FOUND,
    "guess[run-01]": NOT_FOUND,
    "guess[run-02]": CHEATED,
    "guess[run-03]": FAULTY,
    "guess[run-04]": FOUND,
    "guess[run-05]": ("failed", "not found", "not 1", 0.0, False),
    "guess[run-06]": ("failed", "tool-call limit", LIMIT, 0.0, False),
    "guess[run-07]": ("errored", "task fault", DIED, None, None),
    "judged[run-00]": ("failed", "assertion", f"{OVERRULED} passed: one guess is luck", 1.0, True),
    "judged[run-01]": ("passed", "", f"{OVERRULED} failed", 0.0, False),
    "judged[run-02]": CHEATED,
    "judged[run-03]": FAULTY,
    "judged[run-04]": ("failed", "assertion", f"{OVERRULED} passed: one guess is luck", 1.0, True),
    "judged[run-05]": (
        "errored",
        "not judged",
        "the test did not judge the trial: ValueError: a bug of the test",
        0.0,
        False,
    ),
    "judged[run-06]": ("errored", "not judged", "the test did not judge the trial: Skipped: not today", 0.0, False),
    **{f"hopeless[run-0{run}]": NOT_FOUND for run in range(3)},
    **{f"sides[run-00-{side}]": FOUND for side in ("near", "far", "afar")},
    **{f"sides[run-01-{side}]": NOT_FOUND for side in ("near", "far", "afar")},
    "later[run-00]": FOUND,
}
CLAUDE: dict[str, tuple[Told, float]] = {
    "guess[run-00]": (FOUND, 0.00555),
    "guess[run-01]": (NOT_FOUND, 0.000915),
    "guess[run-02]": (CHEATED, 0.002),
    "guess[run-03]": (FAULTY, 0.002),
    "guess[run-04]": (FOUND, 0.004),
    "guess[run-06]": (("failed", "not found", "not 1", 0.0, False), 0.004),
}
"""With what each cost, in US dollars."""


def short(trial_id: str) -> str:
    return trial_id.removeprefix("guesses.py::test_")


def told(record: Record) -> Told:
    return record.outcome, record.label, record.reason, record.score, record.grade_passed
