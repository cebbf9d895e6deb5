"""``--model human``: an author plays a task in a real terminal, seen by a terminal emulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_rltask.run.load import load_run
from tests.support.screen import Terminal

SUITE = dedent(
    '''
    from dataclasses import dataclass
    import pytest
    from pytest_rltask import Episode, Grade, Task, tool

    @dataclass(frozen=True)
    class FindNumber(Task):
        def open(self, seed):
            return Find(seed)

    class Find(Episode):
        def __init__(self, seed):
            self.number, self.won = seed % 100, False
        @property
        def prompt(self):
            return "Find the number below 100."
        @property
        def done(self):
            return self.won
        def remind(self):
            return "Guess on."
        @tool
        def guess(self, number: int, loud: bool = False) -> str:
            """Guess the number.

            Args:
                number: what you guess.
                loud: whether to shout.
            """
            self.won = number == self.number
            return "right" if self.won else "higher" if number < self.number else "lower"
        @tool
        def note(self, text: str) -> str:
            """Write something down."""
            return f"noted {text!r}"
        def grade(self):
            return Grade(float(self.won), threshold=1)

    @pytest.mark.rltask(task=FindNumber())
    def test_find(trial):
        assert trial.passed
    '''
)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "test_find.py").write_text(SUITE, encoding="utf-8")
    return tmp_path


@pytest.fixture
def terminal(suite: Path) -> Iterator[Terminal]:
    terminal = Terminal(suite, ["--model", "human", "--runs", "1", "-p", "no:cacheprovider"], lines=60)
    yield terminal
    terminal.kill()


def at_turn(number: int, times: int = 1):
    return lambda text: text.count(f"[turn {number}] >") >= times


def test_a_person_plays_with_completion_and_sees_what_a_model_sees(terminal: Terminal, suite: Path) -> None:
    opening = terminal.wait_for(at_turn(1))
    for shown in ("Find the number below 100.", "guess number= loud=   Guess the number.", "note text="):
        assert shown in opening
    terminal.type(b"?guess\n")
    assert "number: what you guess." in terminal.wait_for(at_turn(1, 2))
    terminal.type(b"gess number=1\n")
    assert "there is no tool 'gess'; the tools are: guess, note" in terminal.wait_for(at_turn(1, 3))
    terminal.type(b"gu\tnu\t7; note text='two words'\n")
    answered = terminal.wait_for(at_turn(2))
    assert "higher" in answered
    assert "noted 'two words'" in answered
    assert answered.count("Guess on.") == 1
    terminal.type(b"guess number=seven\n")
    assert "guess was not run. number: Input should be a valid integer" in terminal.wait_for(at_turn(3)).replace(
        "\n", ""
    )
    terminal.type(b"note text=<<\none line\nanother\n.\n")
    terminal.wait_for(at_turn(4))
    terminal.type(b"guess number=42 loud=true\n")
    end = terminal.finish()
    assert "right" in end
    assert "score 1 (threshold 1)" in end
    assert terminal.process.returncode == 1, "one of one passed: too easy"
    (record,) = load_run(next((suite / "logs").glob("run_*"))).records.values()
    assert (record.model, record.outcome, record.turns, record.tool_calls) == ("human", "passed", 4, 4)
    uses = [block["input"] for message in record.messages for block in message["content"] if "input" in block]
    assert uses[0] == {"number": 7}
    assert uses[3:] == [{"text": "one line\nanother\n"}, {"number": 42, "loud": True}]


def test_words_and_the_end_of_the_input_end_the_turn(terminal: Terminal, suite: Path) -> None:
    terminal.wait_for(at_turn(1))
    terminal.type(b"> I give up\n")
    terminal.finish()
    (record,) = load_run(next((suite / "logs").glob("run_*"))).records.values()
    assert (record.outcome, record.stop, record.messages[-1]["content"][0]["text"]) == (
        "failed",
        "end_turn",
        "I give up",
    )


def test_ctrl_c_ends_the_run_and_leaves_the_terminal_as_it_was(terminal: Terminal) -> None:
    terminal.wait_for(at_turn(1))
    terminal.type(b"\x03")
    terminal.finish()
    assert terminal.process.returncode == 2


def test_a_persons_time_is_none_of_the_trials(suite: Path) -> None:
    arguments = ["--model", "human", "--runs", "1", "--trial-timeout", "0.2", "-p", "no:cacheprovider"]
    terminal = Terminal(suite, arguments, lines=60)
    try:
        terminal.wait_for(at_turn(1))
        with pytest.raises(AssertionError):
            terminal.wait_for(at_turn(2), timeout_s=0.5)  # thinks it over
        terminal.type(b"guess number=42\n")
        assert "score 1 (threshold 1)" in terminal.finish()
    finally:
        terminal.kill()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--model human needs a terminal to show the task and to read from; there is none"),
        (["-n", "2"], "--model human plays at this terminal, one trial after the other; leave out -n"),
    ],
)
def test_without_a_terminal_a_person_is_refused(pytester: pytest.Pytester, arguments: list[str], said: str) -> None:
    pytester.makepyfile(test_find=SUITE)
    result = pytester.runpytest_subprocess("--model", "human", *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str() + result.stdout.str()


def test_what_would_be_played_can_be_asked_anywhere(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_find=SUITE)
    assert pytester.runpytest_subprocess("--model", "human", "--collect-only", "-q").ret == pytest.ExitCode.OK
    assert pytester.runpytest_subprocess("--model", "human", "--plan").ret == pytest.ExitCode.OK
