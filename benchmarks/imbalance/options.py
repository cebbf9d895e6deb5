"""The options of the task, which the root conftest.py registers, and the task that they describe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.imbalance.difficulty import SAMPLE_SIZES, calibrated_tau
from benchmarks.imbalance.synthetic import MINORITY_FRACS

if TYPE_CHECKING:
    from benchmarks.imbalance.task import Imbalance

__all__ = ["add_options", "check_options", "imbalance"]


@dataclass(frozen=True)
class _Option:
    flag: str
    metavar: str
    example: str
    """A value to write, shown where a given one does not fit."""
    help: str
    parse: Callable[[str], Any]
    """Raises a ValueError that says what is taken."""

    @property
    def name(self) -> str:
        """Name of the task's field."""
        return self.flag.lstrip("-").replace("-", "_")

    @property
    def dest(self) -> str:
        return f"imbalance_{self.name}"


def add_options(parser: pytest.Parser) -> None:
    """Register the options."""
    group = parser.getgroup("imbalance", "the task imbalance (benchmarks/imbalance)")
    for option in _OPTIONS:
        group.addoption(option.flag, dest=option.dest, metavar=option.metavar, default=None, help=option.help)


def check_options(config: pytest.Config) -> None:
    """Check the options that are given, before anything is collected.

    Raises:
        pytest.UsageError: a value cannot be used.
    """
    given = _given(config)
    is_kaggle = given.get("source") == "kaggle"
    if "sample_n" in given and not is_kaggle:
        raise pytest.UsageError("--sample-n is for the kaggle data; write --source kaggle --sample-n 50000")
    if "minority_frac" in given and is_kaggle:
        raise pytest.UsageError(
            "--minority-frac is for the synthetic data, and the kaggle data have 0.17 % frauds; leave one of them out"
        )


def imbalance(config: pytest.Config) -> Imbalance:
    """Make the task that the command line describes.

    Raises:
        pytest.UsageError: a tau that no classifier, or every one, would reach.
    """
    from benchmarks.imbalance.task import Imbalance

    given = _given(config)
    default = calibrated_tau(given.get("source", "synthetic"), given.get("minority_frac", Imbalance.minority_frac))
    try:
        return Imbalance(**{"tau": default, **given})
    except ValueError as error:
        raise pytest.UsageError(f"--tau: {error}; write --tau {default:g}") from None


def _given(config: pytest.Config) -> dict[str, Any]:
    """Return what the command line gives, by the names of the task's fields."""
    values = {}
    for option in _OPTIONS:
        written = config.getoption(option.dest, None)
        if written is not None:
            try:
                values[option.name] = option.parse(written)
            except ValueError as error:
                wrong = f"{option.flag} {written!r} is not {error}"
                raise pytest.UsageError(f"{wrong}; write {option.flag} {option.example}") from None
    return values


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join(words))
        return text

    return parse


def _within(kind: type[int] | type[float], least: float, most: float) -> Callable[[str], float]:
    wanted = f"{'a whole number' if kind is int else 'a number'} from {least:g} to {most:g}"

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise ValueError(wanted) from None
        if not least <= value <= most:
            raise ValueError(wanted)
        return value

    return parse


_OPTIONS = (
    _Option(
        "--source",
        "NAME",
        "synthetic",
        "data: synthetic (Gaussian blobs) or kaggle (creditcardfraud); default synthetic",
        _one_of("synthetic", "kaggle"),
    ),
    _Option(
        "--sample-n",
        "N",
        "50000",
        "rows of the kaggle data for training and validation, 20000 to 200000; default 70 %% of all",
        _within(int, *SAMPLE_SIZES),
    ),
    _Option(
        "--minority-frac",
        "SHARE",
        "0.03",
        "share of the minority in the synthetic data, 0.003 to 0.4; default 0.03",
        _within(float, *MINORITY_FRACS),
    ),
    _Option("--max-steps", "N", "5", "paid actions of a trial; default 5", _within(int, 1, 100)),
    _Option(
        "--tau",
        "F1",
        "0.3",
        "test F1 that passes; default: the calibrated one, 0.3 for synthetic at 0.03, 0.75 for kaggle",
        _within(float, 0.001, 0.999),
    ),
    _Option(
        "--auto-submit",
        "WHEN",
        "end",
        "when the harness submits by itself: at the end of the conversation, or after a sweep; default end",
        _one_of("end", "sweep"),
    ),
)
