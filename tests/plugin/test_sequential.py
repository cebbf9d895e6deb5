"""`--sequential`: the runs of a task one after the other, each told what earlier ones tried."""

from __future__ import annotations

import pytest

from tests.conftest import Suite
from tests.plugin.tries import ONE, TRIES, TWO, Tries, told, told_of

# ---- what a run is told ----


def test_each_run_is_told_what_earlier_runs_tried(tries: Tries):
    tries.write(test_pick=TWO)

    tries.play("--runs", "4")

    assert tries.told(task="pick") == told_of("number", runs=4)
    assert tries.told(task="again") == told_of("again", runs=4)


def test_without_the_option_no_run_is_told_anything(any_suite: Suite):
    tries = Tries(any_suite.pytester, any_suite.workers)

    result = tries.run("--runs", "3", model="policy:own")

    assert tries.told() == {0: [], 1: [], 2: []}
    assert {record.run: record.tried for record in tries.records} == {0: "number 42", 1: "number 43", 2: "number 44"}
    assert "--sequential" not in result.stdout.str()


def test_a_policy_sees_what_it_is_told(plain: Tries):
    plain.play("--runs", "3", model="policy:heard")

    assert plain.told() == {0: [], 1: ["number 0"], 2: ["number 0", "number 1"]}


@pytest.mark.parametrize(("policy", "line"), [("same", ["number 7"]), ("nothing", [])])
def test_a_run_that_tried_the_same_or_nothing_adds_no_line(plain: Tries, policy: str, line: list[str]):
    plain.play("--runs", "4", model=f"policy:{policy}")

    assert plain.told() == {0: [], 1: line, 2: line, 3: line}


def test_what_an_errored_run_tried_is_told(tries: Tries):
    tries.play("--runs", "3", model="policy:falls")

    assert {record.outcome for record in tries.records} == {"errored"}
    assert tries.told() == told_of("number", runs=3)


def test_each_model_is_told_what_it_tried_itself(tries: Tries):
    tries.play("--runs", "3", "--model", "policy:double")

    assert tries.told(model="policy:own") == told_of("number", runs=3)
    assert tries.told(model="policy:double") == {0: [], 1: ["number 84"], 2: ["number 84", "number 86"]}


def test_each_parameter_of_a_test_has_a_history_of_its_own(tries: Tries):
    tries.write(test_pick=ONE.replace("(trial)", "(trial, size)") + "    size\n")
    source = (tries.pytester.path / "test_pick.py").read_text()
    tries.write(test_pick=source.replace("@pytest", '@pytest.mark.parametrize("size", ["s", "l"])\n@pytest'))

    tries.play("--runs", "3", model="policy:unique")

    for size in "sl":
        played = [record for record in tries.records if record.trial_id.endswith(f"-{size}]")]
        assert [record.run for record in played] == [0, 1, 2]
        assert [told(record) for record in played] == [[r.tried for r in played[:run]] for run in range(3)]


def test_a_run_selected_alone_is_told_nothing_of_those_not_played(tries: Tries):
    tries.play("-k", "run-03")

    assert tries.told() == {3: []}


def test_another_run_of_the_suite_starts_anew(plain: Tries):
    plain.play("--runs", "2")
    plain.play("--runs", "2")

    assert len(plain.run_dirs) == 2
    assert plain.told() == {0: [], 1: ["number 42"]}


def test_the_transcript_shows_what_the_run_was_told(plain: Tries):
    plain.play("--runs", "2")

    transcript = (plain.run_dirs[-1] / "transcripts" / "pick-policy_own-run-01.txt").read_text()
    assert "Earlier runs of this task tried:\n- number 42\n" in transcript
    assert "tried: number 43" in transcript


# ---- settings ----


@pytest.mark.parametrize(
    ("ini", "lines"),
    [("true", 1), ("1", 1), ("Yes", 1), ("on", 1), ("false", 0), ("0", 0), ("no", 0), ("OFF", 0)],
)
def test_the_ini_file_can_switch_it_on(plain: Tries, ini: str, lines: int):
    plain.pytester.makeini(f"[pytest]\nrltask_sequential = {ini}\n")

    result = plain.run("--runs", "2", model="policy:own")

    assert len(plain.told()[1]) == lines
    (headline,) = [line for line in result.outlines if line.startswith("rltask: pytest")]
    assert headline.count(" --seed 42 --sequential --gate point") == lines
    assert ("--sequential" in plain.last_run().header["command"]) == bool(lines)


def test_a_toml_file_can_switch_it_on(tries: Tries):
    tries.pytester.makepyprojecttoml("[tool.pytest]\nrltask_sequential = true\n")

    tries.run("--runs", "2", model="policy:own")

    assert tries.told() == {0: [], 1: ["number 42"]}


@pytest.mark.parametrize("ini", ["maybe", "2", ""])
def test_an_ini_setting_that_is_neither_on_nor_off(plain: Tries, ini: str):
    plain.pytester.makeini(f"[pytest]\nrltask_sequential = {ini}\n")

    result = plain.run()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    text = result.stdout.str() + result.stderr.str()
    assert "ERROR: ini setting rltask_sequential: " in text
    assert "write rltask_sequential = true" in text
    assert "Traceback" not in text


def test_the_command_that_reproduces_the_run_says_it_once(suite: Suite):
    result = suite.run("--sequential", "--runs", "2")

    (headline,) = {line for line in result.outlines if line.startswith("rltask: pytest")}
    assert headline.split().count("--sequential") == 1
    assert suite.last_run().header["command"].split().count("--sequential") == 1


def test_a_distributed_run_without_the_option_is_dealt_in_shares(pytester: pytest.Pytester):
    result = Tries(pytester, ("-n", "2")).run("--runs", "2", "-v", model="policy:own")

    result.stdout.fnmatch_lines(["scheduling tests via SharesScheduling"])


def test_a_suite_without_tasks_is_distributed_all_the_same(pytester: pytest.Pytester):
    pytester.makepyfile("import pytest\n@pytest.mark.parametrize('n', ['run-00', 'run-01'])\ndef test_n(n): pass\n")

    result = pytester.runpytest("--sequential", "-n", "2")

    result.assert_outcomes(passed=2)


# ---- what cannot be told ----


def test_what_raises_when_asked_is_the_fault_of_the_task(any_suite: Suite):
    tries = Tries(any_suite.pytester, any_suite.workers)
    tries.write(tries=TRIES.replace('return "" if', 'return {}["x"] if self.seed == 43 else "" if'))

    tries.play("--runs", "3")

    assert [record.outcome for record in tries.records] == ["failed", "errored", "failed"]
    assert tries.records[1].reason == "what the episode tried: KeyError: 'x'"
    assert tries.told() == {0: [], 1: ["number 42"], 2: ["number 42"]}


def test_a_long_text_of_many_lines_becomes_one_short_line(plain: Tries):
    plain.write(tries=TRIES.replace('f"{self.word} {self.number}"', '"a\\n- b " * 200'))

    plain.play("--runs", "2")

    (line,) = plain.told()[1]
    assert line.startswith("a - b a - b ")
    assert len(line) == 300
