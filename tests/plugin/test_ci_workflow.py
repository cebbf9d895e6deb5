"""A run in GitHub Actions: docs/ci.md's workflow played step by step, with the environment that Actions gives."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conftest import SUITE, TEST, Suite, unwrapped

ROOT = Path(__file__).parents[2]
STEP = re.compile(r"^ {6}- name: (?P<name>.*)\n {8}run: (?P<run>.*\n(?: {10}.*\n)*)", re.M)


def steps() -> Iterator[tuple[str, str]]:
    """Yield name and script of each `run:` step of the workflow that the page shows."""
    (workflow,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/ci.md").read_text(), re.DOTALL)
    for found in STEP.finditer(workflow):
        yield found["name"], re.sub(r"^ {10}", "", found["run"].removeprefix("|\n"), flags=re.M)


class Runner:
    """Plays steps as a runner of Actions does: bash, one workspace, a summary of its own for each step."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "workspace"
        self.workspace.mkdir()
        self.summary = folder / "summary.md"
        python = folder / "bin"
        python.mkdir()
        # The step installs nothing that is not here already.
        (python / "python").write_text(f'#!/bin/sh\n[ "$2" = pip ] || exec {sys.executable} "$@"\n')
        (python / "python").chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{python}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.workspace),
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "ANTHROPIC_API_KEY": "",  # as an expression of a secret that there is not
        }

    def play(self, script: str) -> tuple[int, list[str], str]:
        """Return exit status, workflow commands and summary of a step."""
        self.summary.write_text("")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", script],
            cwd=self.workspace,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stdout + done.stderr
        commands = [line for line in done.stdout.splitlines() if line.startswith("::")]
        return done.returncode, commands, self.summary.read_text()


@pytest.mark.slow
def test_the_workflow_of_the_page_does_what_the_page_says(tmp_path: Path):
    runner = Runner(tmp_path)
    (runner.workspace / "tasks.py").write_text(SUITE)
    (runner.workspace / "test_sum.py").write_text(TEST)

    (install, audit, gate) = [runner.play(script) for _, script in steps()]

    assert [name for name, _ in steps()][1:] == ["Are the tasks sound?", "Are they neither too easy nor too hard?"]
    assert install == (0, [], "")
    assert audit[1:] == ([], ""), "an audit has no gate"
    status, (command,), summary = gate
    assert status == 0
    said = "::warning file=test_sum.py,line=4,title=sum by policy%3Abaseline%3A in band::in band, not proven: "
    assert command.startswith(f"{said}pass rate 3/10 = 30 %25 of sum by policy:baseline, band 10-40 %25; about ")
    assert summary.startswith("# Pass rates, gate `point`: holds\n")
    assert "| sum | policy:baseline | 10 | 3 | 30 % |" in summary
    assert (runner.workspace / "junit.xml").exists()
    assert (runner.workspace / "logs" / ".gitignore").read_text() == "*\n"


def test_each_failed_gate_is_one_error_and_a_summary_is_added(
    any_suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    step = tmp_path / "step.md"
    step.write_text("of another program\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))

    result = any_suite.run("--model", "policy:solver", "--runs", "4", model="policy:null")

    commands = [line.partition(",title")[0] for line in result.outlines if line.startswith("::")]
    assert commands == ["::error file=test_sum.py,line=3"] * 2
    assert step.read_text().startswith("of another program\n\n# Pass rates")
    assert step.read_text().count("# Pass rates") == 1


def test_a_summary_that_cannot_be_appended_is_a_warning_and_changes_nothing(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))

    result = suite.pytester.runpytest_subprocess("--model=policy:baseline", "-W", "error")

    assert result.ret == 0
    assert "the summary could not be appended to GITHUB_STEP_SUMMARY: " in unwrapped(result)


def test_git_overlooks_a_new_log_directory_and_keeps_one_that_was_there(suite: Suite):
    (suite.pytester.path / "kept").mkdir()

    suite.run("--runs", "1", "--log-dir=deep/new")
    suite.run("--runs", "1", "--log-dir=kept")

    assert (suite.pytester.path / "deep/new/.gitignore").read_text() == "*\n"
    assert not (suite.pytester.path / "deep/.gitignore").exists()
    assert [path.name[:4] for path in (suite.pytester.path / "kept").iterdir()] == ["run_"]


def test_junit_has_the_files_and_lines_of_trials_and_gates(suite: Suite):
    suite.pytester.makeini("[pytest]\njunit_family = xunit1\n")

    suite.run("--junitxml=junit.xml", "--runs", "2")

    cases = list(ElementTree.parse(suite.pytester.path / "junit.xml").iter("testcase"))
    assert [(case.attrib["file"], case.attrib["line"]) for case in cases] == [("test_sum.py", "2")] * 3


def test_missed_trials_are_skipped_in_junit_if_the_ini_file_says_so(suite: Suite):
    suite.pytester.makeini("[pytest]\nrltask_junit_missed = skipped\n")

    result = suite.run("--junitxml=junit.xml", "--runs", "2", "--band", "10,60")

    (missed, passed) = list(ElementTree.parse(suite.pytester.path / "junit.xml").iter("testcase"))[:2]
    assert missed.find("skipped") is not None
    assert passed.find("skipped") is None
    result.stdout.fnmatch_lines(["*1 passed,*1 missed, 1 in band*"])


def test_another_word_for_missed_trials_in_junit_is_refused(suite: Suite):
    suite.pytester.makeini("[pytest]\nrltask_junit_missed = failed\n")

    result = suite.run()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*ini setting rltask_junit_missed: failed is not passed or skipped; write *"])
