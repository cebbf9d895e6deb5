"""`--resume`: which run goes on, and what is refused, so that nothing is mixed with it."""

from __future__ import annotations

import json
import os
import re
import shutil

import pytest

from pytest_rltask.run.load import load_run
from pytest_rltask.run.record import SCHEMA_VERSION
from tests.conftest import next_words
from tests.plugin.resumed import Runs, headline, refused

# ---- which run ----


def test_last_is_the_newest_run_directory(runs: Runs):
    runs.play("--runs", "1")
    (old,) = runs.run_dirs
    header = json.loads((old / "run.json").read_text())
    newer = old.with_name("run_2_2")
    shutil.copytree(old, newer)
    (newer / "run.json").write_text(json.dumps({**header, "id": "b", "created": "2999-01-01"}))
    (old.with_name("run_zzz")).mkdir()
    os.utime(old)

    result = runs.play("--runs", "2", "--resume=last")

    assert "rltask: resuming logs/run_2_2: 1 trial reused, 1 missing to be played" in result.outlines
    assert (len(load_run(newer).records), len(load_run(old).records)) == (2, 1)
    result.stdout.fnmatch_lines(["next: *"])
    assert "last" not in result.outlines[-2]


def test_the_next_command_goes_on_with_the_run(runs: Runs):
    runs.play("--runs", "2", model="policy:moody")  # one of two errored: incomplete
    result = runs.resume("--runs", "2", model="policy:moody")

    words = next_words(result)

    assert words[-1] == f"--resume=logs/{runs.run_dirs[0].name}"
    assert sum(word.startswith("--resume") for word in words) == 1


NEWER = SCHEMA_VERSION + 1
WRITE = "write --resume=DIR, or leave it out to play a new run"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("last", "--resume last: HERE/logs holds no run directory"),
        ("logs/no", "--resume logs/no: HERE/logs/no is not a directory"),
        ("", "--resume '': HERE is not a run directory of pytest-rltask: it has no run.json"),
        ("later", f"--resume later: HERE/later was written by a later version (schema {NEWER}); upgrade pytest-rltask"),
        ("bare", "--resume bare: HERE/bare is not a run directory of pytest-rltask: its run.json has no id or command"),
    ],
)  # fmt: skip
def test_what_is_no_run_directory_is_told(runs: Runs, wanted: str, said: str):
    here = runs.pytester.path
    for name, schema in [("later", NEWER), ("bare", SCHEMA_VERSION)]:
        (here / name).mkdir()
        (here / name / "run.json").write_text(json.dumps({"schema": schema}))
        (here / name / "plan.json").write_text("[]")

    result = runs.play("--resume", wanted)

    assert refused(result) == f"ERROR: {said.replace('HERE', str(here))}; {WRITE}"
    assert runs.plays() == {}


def test_the_last_run_of_a_later_version_is_not_passed_over(runs: Runs):
    runs.play("--runs", "1")
    newer = runs.run_dirs[0].with_name("run_2999")
    newer.mkdir()
    (newer / "run.json").write_text(json.dumps({"schema": NEWER}))

    assert "run_2999 was written by a later version" in runs.play("--resume", "last").stderr.str()


# ---- what is refused ----


UNDO = "undo that, or play a new run without --resume"
GRADES = "what grades task sum changed"
EPISODE = f"{GRADES}: tasks.py: SumEpisode"
ON = r"write --resume=logs/RUN --changed=regrade \(.*; --plan lists what each does"
PROMPT = r"the prompt of task sum changed \(seed 42\)"
DECLINE = r"the tools of task sum changed \(no more refuse, new decline\)"
BROKEN = "task sum cannot be compared, task fault: opening the episode: ZeroDivisionError: division by zero"
LESS = (
    "no recorded call answers what a model would see now; "
    r"write --resume=logs/RUN --changed=rerun \(.*; --plan lists what each does"
)
SEED = r"test_sum\[policy:noted-run-00\] was played with seed 42, now 43 \(and 1 more\)"
MODEL = (
    r"test_sum was played by policy:noted, now policy:null "
    r"\(to add a model, write --model policy:noted --model policy:null\)"
)


@pytest.mark.parametrize(
    ("old", "new", "arguments", "said"),
    [
        ("task=Sum()", "task=Sum(threshold=0.5)", [], f"{GRADES}: threshold was 1.0, is 0.5; {ON}"),
        ("How much is", "What is", [], rf"{EPISODE}.prompt; the prompt of task sum changed \(seed 42\); {LESS}"),
        ("Submit the sum.", "Hand in the sum.", [],
         rf"{EPISODE}.submit; the tools of task sum changed \(other submit\); {LESS}"),
        ("times: int", "times: float", [],
         rf"{EPISODE}.shout; the tools of task sum changed \(other shout\); {LESS}"),
        ("def refuse(", "def decline(", [],
         rf"{EPISODE}.refuse \(gone\), SumEpisode.decline \(new\); {DECLINE}; {LESS}"),
        ("", "", ["--seed", "43"], f"{SEED}; {UNDO}"),
        ("", "", ["--conv-steps", "6"], f"limit turns of task sum was 5, is 6; {UNDO}"),
        ("", "", ["--trial-timeout", "60"], f"limit wall_s of task sum was 900.0, is 60.0; {UNDO}"),
        ("", "", ["policy:null"], f"{MODEL}; {UNDO}"),
        ("", "", ["--sequential"], f"--sequential was not given, and is now; {UNDO}"),
        ("How much is", "What is", ["--conv-steps", "6", "--seed", "43"],
         rf"{SEED}; limit turns of task sum was 5, is 6; {PROMPT}; {EPISODE}.prompt; {UNDO}"),
        ("        self.task, self.seed, self.answer = task, seed, None", "        1 / 0", [],
         f"{BROKEN}; {EPISODE}.__init__; {UNDO}"),
        ("", "", ["--conv-steps", "6", "--runs", "3", "-k", "run-02"],
         f"limit turns of task sum was 5, is 6; {UNDO}"),
    ],
)  # fmt: skip
def test_a_change_is_refused_and_named(runs: Runs, old: str, new: str, arguments: list[str], said: str):
    runs.play("--runs", "2")
    before, plan = runs.lines(), (runs.run_dirs[0] / "plan.json").read_text()
    for name in ("tasks", "test_sum"):
        if old and old in (runs.pytester.path / f"{name}.py").read_text():
            runs.change(old, new, name)
    model = next((word for word in arguments if word.startswith("policy:")), "policy:noted")

    result = runs.resume("--runs", "2", *(word for word in arguments if word != model), model=model)

    assert re.fullmatch(rf"ERROR: --resume logs/RUN: {said}", refused(result))
    assert runs.lines() == before
    assert (runs.run_dirs[0] / "plan.json").read_text() == plan
    assert sum(runs.plays().values()) == 2


def test_a_change_is_refused_once_by_all_workers(pytester: pytest.Pytester):
    runs = Runs(pytester)
    runs.begin("--runs", "2")
    runs.workers = ("-n", "2")
    before, plan = runs.lines(), (runs.run_dirs[0] / "plan.json").read_text()
    runs.change("How much is", "What is")

    said = refused(runs.resume("--runs", "2", "--seed", "43"))

    prompt = r"the prompt of task sum changed \(seed 42\)"
    assert re.fullmatch(rf"ERROR: --resume logs/RUN: {SEED}; {prompt}; {EPISODE}.prompt; {UNDO}", said)
    assert runs.lines() == before
    assert (runs.run_dirs[0] / "plan.json").read_text() == plan
    assert sum(runs.plays().values()) == 2


def test_another_model_alone_is_refused_and_one_beside_the_first_is_added(runs: Runs):
    runs.play("--runs", "2")

    assert "was played by policy:noted, now policy:null" in refused(runs.resume("--runs", "2", model="policy:null"))

    result = runs.resume("--runs", "2", "--model", "policy:null")

    assert headline(result) == "rltask: resuming logs/RUN: 2 trials reused, 2 missing to be played"
    rows = {row["model"]: row["judged"] for row in runs.report()["rows"]}
    assert rows == {"policy:noted": 2, "policy:null": 2}
    assert headline(runs.resume("--runs", "3", model="policy:null")).endswith("2 trials reused, 1 missing to be played")


def test_a_change_is_no_matter_where_nothing_is_kept(runs: Runs):
    runs.play("--runs", "2")
    runs.lose(0, 1)

    result = runs.resume("--runs", "2", "--conv-steps", "6", "--seed", "45")

    assert headline(result) == "rltask: resuming logs/RUN: 0 trials reused, 2 missing to be played"


def test_a_plan_of_an_earlier_version_has_no_limits_to_compare(runs: Runs):
    runs.play("--runs", "2")
    path = runs.run_dirs[0] / "plan.json"
    path.write_text(json.dumps([{k: v for k, v in t.items() if k != "limits"} for t in json.loads(path.read_text())]))

    result = runs.resume("--runs", "2", "--conv-steps", "6")

    assert headline(result) == "rltask: resuming logs/RUN: 2 trials reused, none to be played"
