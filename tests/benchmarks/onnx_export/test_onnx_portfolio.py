"""The portfolio: players of different schools, whose scripts compile and really deliver."""

from __future__ import annotations

import ast
import re
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.onnx_export import calibrate
from benchmarks.onnx_export.portfolio import PORTFOLIO
from benchmarks.onnx_export.task import OnnxExport
from pytest_rltask import PolicyView, Record, ToolCall
from pytest_rltask.models import seeded_rng


def moves_of(name: str, seed: int, reached: float) -> list[Any]:
    """Return the moves of a player that is told this test accuracy after each run; nothing is run."""
    view = PolicyView("accuracy >= 0.875", (), seed, seeded_rng(name, seed), ())
    moves, made, answer = PORTFOLIO[name](view), [], None
    said = {"stdout": f"train accuracy: {reached}\ntest accuracy: {reached}\n"}
    while not isinstance(move := moves.send(answer), str):
        made.append(move)
        answer = SimpleNamespace(json=lambda: said) if move.name == "run_python" else None
    return [*made, move]


def scripts_of(moves: list[Any]) -> list[str]:
    return [move.arguments["content"] for move in moves if isinstance(move, ToolCall) and move.name == "write_file"]


def test_the_portfolio_has_a_dozen_players_that_are_no_policies() -> None:
    assert len(PORTFOLIO) >= 12
    assert not set(PORTFOLIO) & set(OnnxExport.policies)


@pytest.mark.parametrize("name", PORTFOLIO)
def test_a_player_writes_two_scripts_that_compile_within_four_calls(name: str) -> None:
    moves = moves_of(name, 1, 0.8)

    assert len(moves) == 5
    assert moves[-1] == "TASK COMPLETE"
    first, second = scripts_of(moves)
    assert first != second
    for script in (first, second):
        compile(script, name, "exec")
        (config,) = re.findall(r"^CONFIG = (\{.*\})$", script, re.MULTILINE)
        assert {*re.findall(r'CONFIG\["(\w+)"\]', script)} <= ast.literal_eval(config).keys()


@pytest.mark.parametrize("name", PORTFOLIO)
def test_a_player_leaves_it_at_a_test_accuracy_that_passes(name: str) -> None:
    assert len(moves_of(name, 1, 0.88)) == 3


@pytest.mark.parametrize("name", PORTFOLIO)
def test_a_player_varies_with_the_seed(name: str) -> None:
    assert len({scripts_of(moves_of(name, seed, 0.8))[0] for seed in range(3)}) == 3


@pytest.mark.parametrize("name", PORTFOLIO)
def test_a_player_knows_nothing_of_how_the_data_were_made(name: str) -> None:
    for script in scripts_of(moves_of(name, 1, 0.8)):
        assert not re.search(r"make_classification|hypercube|class_sep|fresh", script)


@pytest.mark.slow
def test_a_player_really_delivers(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    results = ["--results", str(tmp_path / "portfolio.jsonl")]

    calibrate.main(["--portfolio", "--policies", "quadratic_discriminant", "--seeds", "1", "--jobs", "1", *results])

    out = capsys.readouterr().out
    assert re.search(r"\| `quadratic_discriminant` \| 1 \| [01] \| .* \| 0\.[6-9]\d\d \| 0\.[6-9]\d\d \|", out)
    assert "players 1, seeds 1, mean pass rate" in out


def test_the_portfolio_has_defaults_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    played: list[Any] = []

    def play(task: Any, options: Any, policies: Any, *, identity: Any) -> list[Record]:
        played.append((options.policies.split(","), options.seeds, str(options.results), policies))
        return []

    monkeypatch.setattr(calibrate, "play", play)
    monkeypatch.setattr(calibrate, "portfolio_summary", lambda rows, names: "")

    calibrate.main(["--portfolio"])
    calibrate.main(["--seeds", "3"])

    assert played == [
        (list(PORTFOLIO), 20, "portfolio.jsonl", PORTFOLIO),
        (list(OnnxExport.policies), 3, "calibration.jsonl", None),
    ]
