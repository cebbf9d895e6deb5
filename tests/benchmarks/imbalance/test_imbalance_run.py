"""The benchmark as it is run: pytest at the root of the repository, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.imbalance.options import imbalance
from benchmarks.imbalance.task import Imbalance
from pytest_rltask import play_policy
from pytest_rltask.run.load import load_run
from pytest_rltask.run.record import Record
from tests.benchmarks.imbalance.fake_kaggle import FakeKaggle, creditcard_csv
from tests.conftest import slow
from tests.support.extras import hide_extras

ROOT = Path(__file__).parents[3]
NOWHERE = "http://127.0.0.1:9"
SMOKE = "-k imbalance --source synthetic --minority-frac 0.2 --max-steps 4 --tau 0.7 --conv-steps 3 --runs 3 "
SMOKE += "--model policy:solver"
REAL = "-k imbalance --runs 5 --source kaggle --sample-n 50000 --max-steps 4 --tau 0.75"

IN_FLIGHT = """
import asyncio, sys
from benchmarks.imbalance.task import Imbalance
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.trial.play import TrialSpec, play

task, model = Imbalance(), PolicyModel("solver")

async def rounds(*sizes):
    for size in sizes:  # nothing heavy is imported before the first round
        specs = [TrialSpec(f"t{i}", task, "imbalance", "policy:solver", i, 42, task.limits) for i in range(size)]
        for record in await asyncio.gather(*(play(spec, model) for spec in specs)):
            print(record.outcome, record.score.hex(), record.metrics["threshold"].hex())

asyncio.run(rounds(*map(int, sys.argv[1:])))
"""

THREE_TIMES = """
import pytest
from benchmarks.imbalance.task import Imbalance

def _test(number):
    @pytest.mark.rltask(task=Imbalance(), name=f"imbalance-{number}")
    def test(trial):
        assert trial.passed, trial.reason
    return test

globals().update({f"test_{number}": _test(number) for number in range(3)})
"""


@dataclass(frozen=True)
class Run:
    """What a run of pytest said and left."""

    status: int
    text: str
    records: list[Record]
    report: dict[str, Any]

    @property
    def errors(self) -> list[str]:
        """The lines with which pytest tells a usage error."""
        return [line for line in self.text.splitlines() if line.startswith("ERROR: ")]

    @property
    def scores(self) -> list[tuple[int, float | None]]:
        return [(record.seed, record.score) for record in self.records]


@dataclass(frozen=True)
class Machine:
    """A home folder, and pytest in it; without data, credentials, network and what only tests need."""

    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        foreign = re.compile(r"KAGGLE|ANTHROPIC|PYTEST|COV_|CREDITCARD|\w+_PROXY$", re.IGNORECASE)
        own = {name: value for name, value in os.environ.items() if not foreign.match(name)}
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE)
        folders = {
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "KAGGLEHUB_CACHE": str(self.home / "kagglehub"),
            "PYTHONPATH": os.pathsep.join([str(self.home / "hidden"), str(ROOT)]),
            "COLUMNS": "200",
            "PYTEST_ADDOPTS": "-p no:hypothesispytest",
        }
        return own | proxies | folders | more

    def run(self, command: str, *more: str, **environment: str) -> Run:
        """Run ``pytest COMMAND`` at the root; what the test adds to the command goes by PYTEST_ADDOPTS."""
        logs = self.home / "logs"
        already = set(logs.glob("run_*"))
        added = ["-p no:cacheprovider", "-p no:hypothesispytest", f"--log-dir={logs}", *more]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *command.split()],
            cwd=ROOT,
            env=self.environment(PYTEST_ADDOPTS=" ".join(added), **environment),
            capture_output=True,
            text=True,
            timeout=300,
        )
        records: list[Record] = []
        report: dict[str, Any] = {}
        for path in set(logs.glob("run_*")) - already:
            records = sorted(load_run(path).records.values(), key=lambda record: record.run)
            if (path / "report.json").exists():
                report = json.loads((path / "report.json").read_text())
        return Run(done.returncode, done.stdout + done.stderr, records, report)

    def python(self, program: str, *arguments: str) -> list[str]:
        """Run a program at the root and return the lines it prints."""
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine that has never run the benchmark."""
    hide_extras(tmp_path / "hidden")
    return Machine(tmp_path)


@pytest.fixture(scope="session")
def kaggle() -> Iterator[FakeKaggle]:
    """Kaggle, with a data set of the real size."""
    with FakeKaggle(creditcard_csv(284_807, 492, 1081, seed=1)) as server:
        yield server


# Both commands as they are written


@pytest.mark.slow
def test_the_smoke_command_works_as_written(machine: Machine) -> None:
    run = machine.run(SMOKE)

    assert [(record.seed, record.outcome) for record in run.records] == [(s, "passed") for s in (42, 43, 44)]
    assert run.status == 1  # nothing failed, but a solver that passes each time is out of the band
    assert run.report["rows"][0]["verdict"]["word"] == "too easy"
    assert all(record.turns <= 3 and record.threshold == 0.7 for record in run.records)
    assert "3 passed" in run.text


@pytest.mark.slow
def test_the_real_command_works_as_written(
    machine: Machine, kaggle: FakeKaggle, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaggle.requests.clear()

    run = machine.run(REAL, "--model policy:solver", **kaggle.environment)

    assert [record.outcome for record in run.records].count("passed") >= 4, run.text
    assert len(run.records) == 5
    assert all(record.threshold == 0.75 and record.metrics["steps_used"] == 2 for record in run.records)
    assert {record.info["data"][:16] for record in run.records} == {"creditcardfraud "}
    assert {record.info["train_rows"] for record in run.records} <= set(range(33_300, 33_340))
    assert [request.method for request in kaggle.requests] == ["POST", "GET"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine.home / "cache"))  # where the parsed copy is
    task = Imbalance(source="kaggle", sample_n=50_000, max_steps=4, tau=0.75)
    assert play_policy(task, "solver", 42).score == run.records[0].score


def test_without_a_key_the_real_command_says_what_it_needs(machine: Machine) -> None:
    run = machine.run(REAL)

    assert run.status == 4
    assert len(run.errors) == 1
    assert "ANTHROPIC_API_KEY" in run.errors[0]
    assert run.records == []


# Options


USAGE_ERRORS = {
    "--source foo": ("--source", "synthetic or kaggle", "write --source synthetic"),
    "--sample-n 50000": ("--sample-n", "kaggle", "write --source kaggle --sample-n 50000"),
    "--source kaggle --sample-n 19999": ("--sample-n", "20000 to 200000", "write --sample-n 50000"),
    "--source kaggle --sample-n all": ("--sample-n", "20000 to 200000", "write --sample-n 50000"),
    "--source kaggle --minority-frac 0.2": ("--minority-frac", "synthetic", "leave one of them out"),
    "--minority-frac 0.5": ("--minority-frac", "0.003 to 0.4", "write --minority-frac 0.03"),
    "--minority-frac nan": ("--minority-frac", "0.003 to 0.4", "write --minority-frac 0.03"),
    "--max-steps 0": ("--max-steps", "1 to 100", "write --max-steps 5"),
    "--max-steps 2.5": ("--max-steps", "1 to 100", "write --max-steps 5"),
    "--max-steps 101": ("--max-steps", "1 to 100", "write --max-steps 5"),
    "--tau much": ("--tau", "0.001 to 0.999", "write --tau 0.3"),
    "--tau nan": ("--tau", "0.001 to 0.999", "write --tau 0.3"),
    "--tau 0.99": ("--tau", "not within 0.078 to 0.", "write --tau 0.3"),
    "--tau 0.05": ("--tau", "not within 0.078 to 0.", "write --tau 0.3"),
    "--minority-frac 0.2 --tau 0.3": ("--tau", "not within 0.353 to 0.", "write --tau 0.7"),
    "--source kaggle --tau 0.01": ("--tau", "0.023 to 1.000", "write --tau 0.75"),
    "--auto-submit never": ("--auto-submit", "end or sweep", "write --auto-submit end"),
}


@pytest.mark.parametrize("options", USAGE_ERRORS)
def test_a_wrong_option_is_told_in_a_line(options: str, pytester: pytest.Pytester) -> None:
    played = f"{ROOT / 'benchmarks' / 'imbalance'} --rootdir={ROOT} --model policy:null --runs 1"

    run = pytester.runpytest(*played.split(), *options.split())

    text = f"{run.stdout}\n{run.stderr}"
    errors = [line for line in text.splitlines() if line.startswith("ERROR: ")]
    assert run.ret == 4
    assert len(errors) == 1
    assert [words for words in USAGE_ERRORS[options] if words not in errors[0]] == []
    assert "Traceback" not in text


@pytest.mark.parametrize("options", [slow("--source foo"), slow("--tau 0.99")])
def test_a_wrong_option_is_told_once_by_all_workers(options: str, machine: Machine) -> None:
    run = machine.run(f"benchmarks/imbalance --model policy:null --runs 2 -n 2 {options}")

    assert run.status == 4
    assert len(run.errors) == 1
    assert [words for words in USAGE_ERRORS[options] if words not in run.errors[0]] == []
    assert "Traceback" not in run.text


def test_the_help_has_a_group_for_the_options(machine: Machine) -> None:
    text = machine.run("--help").text

    group = text.partition("the task imbalance (benchmarks/imbalance):\n")[2].partition("\n\n")[0]
    assert re.findall(r"^  (--\S+?)=", group, re.MULTILINE) == [
        "--source",
        "--sample-n",
        "--minority-frac",
        "--max-steps",
        "--tau",
        "--auto-submit",
    ]
    assert group.count("default") >= 6


@pytest.mark.parametrize(
    ("options", "task"),
    [
        ("", Imbalance()),
        ("--minority-frac 0.2", Imbalance(minority_frac=0.2, tau=0.7)),
        ("--minority-frac 0.2 --tau 0.6", Imbalance(minority_frac=0.2, tau=0.6)),
        ("--source kaggle", Imbalance(source="kaggle", tau=0.75)),
        ("--source kaggle --sample-n 20000 --tau 0.5", Imbalance(source="kaggle", sample_n=20_000, tau=0.5)),
        ("--max-steps 100 --auto-submit sweep", Imbalance(max_steps=100, auto_submit="sweep")),
    ],
)
def test_the_options_describe_the_task(options: str, task: Imbalance, pytester: pytest.Pytester) -> None:
    config = pytester.parseconfig(str(ROOT / "benchmarks" / "imbalance"), f"--rootdir={ROOT}", *options.split())

    assert imbalance(config) == task


def test_collecting_loads_nothing_heavy(machine: Machine) -> None:
    program = (
        "import sys, pytest; pytest.main(['benchmarks', '--collect-only', '-q', '-p', 'no:cacheprovider']); "
        "print('loaded:', *sorted({name.partition('.')[0] for name in sys.modules}))"
    )

    *collected, loaded = machine.python(program)

    assert any("imbalance" in line for line in collected)
    assert not {"torch", "numpy", "sklearn", "imblearn", "pandas", "kagglehub"} & set(loaded.split())


@pytest.mark.slow
def test_a_sweep_submits_if_asked_to(machine: Machine) -> None:
    run = machine.run("benchmarks/imbalance --auto-submit sweep --runs 1 --model policy:cheat_noop")

    (record,) = run.records
    assert (record.outcome, record.stop, record.turns) == ("failed", "done", 4)
    assert record.metrics["auto_submitted"]
    assert "This also submits." in record.messages[0]["content"][0]["text"]


# Data that cannot be had


def check_errored(run: Run, cause: str) -> None:
    assert run.status == 1
    assert [(record.outcome, record.score) for record in run.records] == [("errored", None)] * 2
    assert run.report["rows"][0]["verdict"]["word"] == "incomplete"
    for record in run.records:
        assert record.fault is not None
        assert cause in record.fault.message
        for way_out in ("KAGGLE_API_TOKEN=", "CREDITCARD_DATA_DIR=", "KAGGLEHUB_CACHE=", "--source synthetic"):
            assert way_out in record.fault.message
    assert "2 errors" in run.text.splitlines()[-1]
    assert not re.search(r"\b[12] failed, .*MISSED|\d missed", run.text)
    assert re.search(r"ERROR at setup of test_imbalance\[.*run-00\]", run.text)


@pytest.fixture
def errored(machine: Machine) -> Run:
    """A run whose data folder is empty."""
    folder = machine.home / "empty"
    folder.mkdir()
    return machine.run(REAL.replace("5", "2", 1), "--model policy:solver", CREDITCARD_DATA_DIR=str(folder))


def test_a_missing_file_is_an_errored_set_up_never_a_failed_trial(errored: Run) -> None:
    check_errored(errored, "creditcard.csv cannot be read (No such file or directory)")


def test_the_ways_out_are_shown_once(errored: Run) -> None:
    told = errored.text.partition("short test summary")[0]  # where pytest repeats whole messages on CI
    assert told.count("--source synthetic needs no data set") == 1


@pytest.mark.parametrize("workers", [slow("-n 0"), "-n 2"])
def test_a_refusal_of_kaggle_is_an_errored_set_up_and_is_not_repeated(workers: str, machine: Machine) -> None:
    with FakeKaggle(b"") as server:
        server.status = 403
        run = machine.run(REAL.replace("5", "2", 1), "--model policy:solver", workers, **server.environment)

    check_errored(run, "Kaggle refused the request (403)")
    assert server.downloads == 1


# The same seed, the same score


@pytest.mark.slow
def test_a_seed_has_one_score_alone_and_among_others(machine: Machine) -> None:
    rounds = machine.python(IN_FLIGHT, "8", *["1"] * 4)

    assert len(rounds) == 12
    assert len(set(rounds)) == 1
    assert rounds[0].startswith("passed ")


@pytest.mark.slow
def test_workers_change_no_score_and_tell_no_run_of_another(machine: Machine) -> None:
    suite = machine.home / "suite"
    suite.mkdir()
    (suite / "test_three.py").write_text(THREE_TIMES)

    run = machine.run(f"{suite} -n 2 --runs 2 --model policy:solver --model policy:baseline")

    assert len(run.records) == 3 * 2 * 2
    policies = {model: model.removeprefix("policy:") for model in ("policy:solver", "policy:baseline")}
    alone = {(m, seed): play_policy(Imbalance(), name, seed) for m, name in policies.items() for seed in (42, 43)}
    for record in run.records:
        same = alone[record.model, record.seed]
        assert (record.score, record.metrics, record.messages) == (same.score, same.metrics, same.messages)


# Runs that know of each other


@pytest.mark.slow
def test_sequential_runs_are_told_what_earlier_ones_tried(machine: Machine) -> None:
    run = machine.run("benchmarks/imbalance --model policy:baseline --runs 4 --sequential -n 2")

    tried: list[str] = []
    for record in run.records:
        told = [block["text"] for block in record.messages[0]["content"][1:]]
        assert told == (["\n- ".join(["Earlier runs of this task tried:", *tried])] if tried else [])
        tried += [record.tried] if record.tried not in tried else []
    assert len(run.records) == 4
    assert len(tried) >= 2
    assert all(re.fullmatch(r"no paid action|(\w+\([^)]*\)(, )?)+", line) for line in tried)
