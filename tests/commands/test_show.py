"""`rltask list`, `show` and `stats` as typed, on runs of an earlier version."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_rltask.cli import main
from pytest_rltask.run.log import RunWriter
from tests.report.pages import HOSTILE
from tests.run.of_97dd2a8 import CLAUDE, WRITTEN
from tests.run.written import HEADER, planned, python, record_of

Typed = Callable[..., str]


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A log directory with two runs of an earlier version."""
    for name in ("claude", "policies"):
        shutil.copytree(WRITTEN / name, tmp_path / "logs" / f"run_{name}")
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield tmp_path / "logs"
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def rltask(logs: Path, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Type a command, and return what it says; a refusal begins with ``rltask:``."""

    def typed(*words: str) -> str:
        status = main(words)
        said = capsys.readouterr()
        assert (status == 4) == said.err.startswith("rltask: ")
        return said.out or said.err

    return typed


def test_runs_are_listed_with_the_newest_last(rltask: Typed, logs: Path) -> None:
    assert [line for line in rltask("list").splitlines() if "guess" in line or line.startswith("run_")] == [
        "run_policies  2026-11-28 17:45  finished",
        "  guess        policy:mixed     8/8   33 %  incomplete",
        "run_claude    2026-11-28 17:49  interrupted  $0.0225",
        "  guess  claude-haiku-4-5-20251001     6/8  40 %  incomplete",
    ]
    data = json.loads(rltask("list", "--json"))
    assert [run["state"] for run in data["runs"]] == ["finished", "interrupted"]
    assert data["runs"][1]["rows"][0]["passed"] == 2


def test_a_run_says_what_became_of_each_trial(rltask: Typed) -> None:
    lines = rltask("show", "claude").splitlines()
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line.startswith("guess/")}
    assert rows == {
        "guess/0": "passed 1 2 $0.0055 2.2 s",
        "guess/1": "missed 0 1 $0.0009 0.9 s not found: not tried",
        "guess/2": "cheated 1 1 $0.0020 0.4 s minus one: guessed -1",
        "guess/3": "errored 1 $0.0020 2.6 s task fault: tool peek: KeyError: 'a bug of the task'",
        "guess/4": "passed 1 2 $0.0040 2.4 s",
        "guess/5": "lost cut off while it was played",
        "guess/6": "missed 0 2 $0.0040 0.0 s not found: not 1",
        "guess/7": "not started --max-cost 0.0235: $0.0205 is spent, and another trial may cost $0.0055",
    }
    assert not any(line.startswith("guess/") and "$" in line for line in rltask("show", "policies").splitlines())


@pytest.mark.parametrize("name", [*CLAUDE, "guess[run-05]", "guess[run-07]"])
def test_each_trial_of_it_can_be_read(name: str, rltask: Typed) -> None:
    text = rltask("show", "claude", name)
    assert f"test_{name}" in text.splitlines()[0]
    assert ("--- prompt" in text) == (name in CLAUDE)
    data = json.loads(rltask("show", "claude", name, "--json"))
    assert data["trial_id"].endswith(name)
    assert bool(data.get("messages")) == (name in CLAUDE)


def test_trials_are_selected(rltask: Typed) -> None:
    def shown(*words: str) -> list[str]:
        lines = rltask("show", "claude", *words).splitlines()
        return [line.split()[0] for line in lines if line.startswith("guess/") and line.split()[1:]]

    assert shown("--failed") == ["guess/1", "guess/2", "guess/6"]
    assert shown("--label", "not FOUND") == ["guess/1", "guess/6"]
    assert shown("--grep", "^number: 500") == ["guess/0"]
    assert shown("--failed", "--grep", "guessed -1") == ["guess/2"]
    assert "no trial is like that" in rltask("show", "claude", "--grep", "no such words")
    assert "turn 1 · calls guess\n    number: 500\n" in rltask("show", "claude", "--grep", "^number: 500")
    found = json.loads(rltask("show", "claude", "--grep", "^number: 500", "--json"))
    assert found["trials"][0]["matches"] == [{"where": "turn 1 · calls guess", "line": "number: 500"}]
    assert rltask("show", "claude", "guess/0", "--grep", "zzz") == "no line of it is like that\n"
    assert "  turn 2 · calls guess\n    number: 43\n" in rltask("show", "claude", "guess/0", "--grep", "43$")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "claude", "--grep", "gu[e"), "--grep 'gu[e' is no regular expression: unterminated character set"),
        (("show", "claude", "nope"), "no trial of run_claude is named 'nope'; there are 8: guess/0"),
        (("show", "policies", "run-00"), "'run-00' means 4 trials of run_policies: guess/0, judged/0"),
        (("show", "claude", "--label", "x"), "--label x: no trial asked for has it in its label; 2 x not found"),
        (("show", "claude", "guess/0", "--failed"), "--failed and --label select among the trials of a run"),
        (("show", "claude", "--follow", "--json"), "leave out --grep and --json"),
        (("stats", "claude", "--k", "9"), "pass@9 and pass^9 need 9 judged trials of a task: guess by claude-haiku"),
        (("stats", "claude", "--k", "1,0"), "it takes numbers from 1 on, with commas between them, as in --k 1,2,5"),
        (("stats", "claude", "--near", "nan"), "it takes a share from 0 to 1, as in --near 0.05"),
        (("stats", "nowhere"), "nowhere: "),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_sentence(words: tuple[str, ...], said: str, rltask: Typed) -> None:
    refused = rltask(*words)
    assert refused.startswith("rltask: ")
    assert said in refused
    assert len(refused.splitlines()) == 1


def test_a_run_that_is_over_is_followed_to_its_end_at_once(rltask: Typed) -> None:
    lines = rltask("show", "claude", "--follow", "--failed").splitlines()
    assert sorted(line.split()[:2] for line in lines) == [
        ["guess/1", "missed"],
        ["guess/2", "cheated"],
        ["guess/6", "missed"],
    ]
    assert rltask("show", "claude", "guess/0", "--follow") == rltask("show", "claude", "guess/0")


def test_a_run_that_goes_on_says_so(rltask: Typed, logs: Path) -> None:
    path = logs / "run_now"
    writer = RunWriter(path, "main", {**HEADER, "created": "2026-11-28T18:00:00+00:00"})
    writer.plan([planned(), planned("test_sum[run-01]")])
    code = (
        "import sys, pathlib; from pytest_rltask.run.lock import RunLock; "
        "lock = RunLock(pathlib.Path(sys.argv[1]), 'main'); print('held', flush=True); sys.stdin.read()"
    )
    process = python(code, path)
    assert process.stdout is not None
    process.stdout.readline()
    writer.start("test_sum[run-00]")
    try:
        assert "running" in rltask("list").splitlines()[-2]
        assert "being played" in rltask("show", "last")
        assert "to be played" in rltask("show", "last")
        assert "--follow shows how it goes on" in rltask("show", "last", "run-00")
    finally:
        process.communicate("")
    assert "interrupted" in rltask("list").splitlines()[-2]


def test_nothing_that_a_model_wrote_reaches_the_terminal_as_it_is(
    rltask: Typed, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = RunWriter(logs / "run_bad", "main", {**HEADER, "created": "2026-11-28T18:00:00+00:00"})
    writer.plan([planned()])
    text = "\n".join(HOSTILE)
    said = [{"role": "user", "content": [{"type": "text", "text": text}]}]
    fields = {"label": text, "reason": text, "info": {text: text}, "metrics": {text: text}, "tried": text}
    writer.append(record_of(messages=said, **fields))
    monkeypatch.setenv("FORCE_COLOR", "1")
    for words in (("show", "last"), ("show", "last", "0"), ("show", "last", "--grep", "alert"), ("stats", "last")):
        shown = rltask(*words).replace("\x1b[0m", "")
        assert set("\x00\x07\x9b\r\u202e\x7f").isdisjoint(shown)
        assert "\x1b[31m bell" not in shown


def test_numbers_of_several_runs_and_of_one_named_twice(rltask: Typed) -> None:
    once, twice = (
        json.loads(rltask("stats", *runs, "--json")) for runs in (("claude",), ("claude", "logs/run_claude"))
    )
    assert once["groups"] == twice["groups"]
    assert once["groups"][0]["pass_at"] == {"1": 0.4, "2": pytest.approx(0.7), "5": 1.0}
    assert rltask("stats", "claude", "policies").startswith("trials of run_claude, run_policies\n")


def test_what_json_has_no_word_for_is_null(rltask: Typed, logs: Path) -> None:
    writer = RunWriter(logs / "run_nan", "main", {**HEADER, "created": "2026-11-28T18:00:00+00:00"})
    writer.plan([planned()])
    writer.append(record_of(score=float("nan"), info={"a": float("inf")}))
    for words in (("show", "last"), ("show", "last", "0"), ("list",), ("stats", "last")):
        json.loads(rltask(*words, "--json"), parse_constant=pytest.fail)
    assert json.loads(rltask("show", "last", "0", "--json"))["info"] == {"a": None}


def test_a_damaged_run_is_listed_with_what_is_wrong(rltask: Typed, logs: Path) -> None:
    (logs / "run_claude" / "plan.json").write_text("[{}]")
    assert "unreadable" in rltask("list")
    assert "plan.json is damaged" in rltask("list")
    assert "plan.json is damaged" in rltask("show", "claude")


def test_an_empty_log_directory_says_so(rltask: Typed, logs: Path) -> None:
    shutil.rmtree(logs)
    assert rltask("list").startswith("no run in ")
    assert json.loads(rltask("list", "--json"))["runs"] == []
