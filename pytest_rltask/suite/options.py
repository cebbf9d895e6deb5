"""The options of the plugin: one table of names, defaults and parsers, for the command line and the ini file.

Precedence: command line, then the marker ``rltask`` (``runs``, ``band``), then ini setting ``rltask_*``, then the
task's own value or the default. A value that cannot be used is a usage error that says what can.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rltask.suite.model_options import MODEL_OPTIONS
from pytest_rltask.suite.option import Option
from pytest_rltask.suite.option_words import parse_engine, parse_gate, parse_sandbox, parse_way

if TYPE_CHECKING:  # loaded with the first task, not with pytest
    from pytest_rltask.suite.shard import Shard
    from pytest_rltask.task import Band
    from pytest_rltask.verdict import Gate

__all__ = ["JUNIT_MISSED", "MARKER", "OPTIONS", "Option", "Options", "add_options", "parse_band", "parse_runs"]

DEFAULT_MODEL = "claude-haiku-4-5-20251001"
MARKER = "rltask"
JUNIT_MISSED = "rltask_junit_missed"


def parse_runs(text: str) -> int:
    """Parse a number of runs."""
    return _whole(text, at_least=1)


def parse_band(text: str) -> Band:
    """Parse ``LOW,HIGH`` in percent.

    A HIGH of at most 1 is refused: whoever writes ``0.1,0.4`` means shares, and would get a band below 1 %.

    Example:
        >>> str(parse_band("10,40"))
        '10-40 %'
    """
    from pytest_rltask.task import Band

    expected = "a band LOW,HIGH in percent with LOW below HIGH"
    try:
        low, high = (float(part) for part in text.split(","))
        if high <= 1:
            raise ValueError
        return Band(low / 100, high / 100)
    except ValueError:
        raise ValueError(expected) from None


def _whole(text: str, *, at_least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = at_least - 1
    if value < at_least:
        raise ValueError(f"a whole number of at least {at_least}")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise ValueError("a positive number of seconds")
    return value


def _dollars(text: str) -> float:
    try:
        value = float(text.removeprefix("$"))
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise ValueError("a positive number of US dollars")
    return value


def _folder(text: str) -> str:
    """Parse the path of a folder; a shell replaces ``~`` where it stands alone, and not behind ``--log-dir=``."""
    return os.path.expanduser(text)


def _shard(text: str) -> Shard:
    from pytest_rltask.suite.shard import Shard

    return Shard.parse(text)


OPTIONS = (
    Option("--runs", "N", 10, "10", "trials of each task and model", parse_runs),
    Option(
        "--model",
        "NAME",
        DEFAULT_MODEL,
        "policy:baseline",
        "who plays: claude-..., api:NAME (at ANTHROPIC_BASE_URL), policy:NAME (a scripted policy the task ships), "
        "replay:RUN_DIR or human (you); the first two take settings, claude-...@effort=high; may be repeated",
        str,
        repeatable=True,
    ),
    *MODEL_OPTIONS,
    Option("--seed", "N", 42, "42", "seed of run 0; run i uses seed + i", lambda text: _whole(text, at_least=0)),
    Option("--conv-steps", "N", None, "10", "turns a trial may take (10 unless the task says otherwise)", parse_runs),
    Option("--trial-timeout", "S", None, "900", "seconds a trial may take (900 unless the task says so)", _seconds),
    Option(
        "--reply-timeout",
        "S",
        None,
        "600",
        "seconds that one reply of an API may take (600), within its trial's time; a late one may be paid and is asked "
        "for once more",
        _seconds,
    ),
    Option(
        "--concurrency",
        "N",
        None,
        "10",
        "trials in flight at once, in each worker of -n (10 for models of an API, one for each core for others)",
        parse_runs,
    ),
    Option(
        "--sequential",
        "",
        False,
        "true",
        "play the runs of a task one after the other, in one worker of -n, and tell each what earlier ones tried",
        bool,
        is_switch=True,
    ),
    Option(
        "--shard",
        "I/N",
        None,
        "0/4",
        "play every N-th trial from the I-th on, as one of N commands on N machines; `rltask merge` joins their runs",
        _shard,
        has_ini=False,
    ),
    Option("--band", "LOW,HIGH", None, "10,40", "pass rates, in percent, that the gate accepts (10,40)", parse_band),
    Option(
        "--gate",
        "RULE",
        "point",
        "point",
        "point: the observed rate lies in the band; proven: it is not proven outside; strict: it is proven inside",
        parse_gate,
    ),
    Option(
        "--stop-early",
        "",
        False,
        "true",
        "start no more trials of a task and model once its verdict is proven; those in flight are waited for",
        bool,
        is_switch=True,
    ),
    Option(
        "--max-cost",
        "USD",
        None,
        "5",
        "start no trial that might take the run's cost past so many US dollars, errored trials and what a resumed run "
        "cost before included; the gate then judges the trials that were started",
        _dollars,
    ),
    Option(
        "--plan",
        "",
        False,
        "true",
        "play nothing: show how many trials would be played, and what they may cost by the runs in --log-dir",
        bool,
        is_switch=True,
        has_ini=False,
    ),
    Option(
        "--sandbox",
        "NAME",
        "auto",
        "auto",
        "what isolates agents' code: bwrap, landlock, auto (the first of these that works), docker, "
        "none (it runs with your rights)",
        parse_sandbox,
    ),
    Option(
        "--engine",
        "NAME",
        "local",
        "ray",
        "where trials run: local, ray, or ray://HOST:PORT (docs/ray.md)",
        parse_engine,
    ),
    Option("--log-dir", "DIR", "logs", "logs", "where run directories are created", _folder),
    Option(
        "--resume",
        "DIR",
        None,
        "last",
        "go on with the run in DIR, or the last one of --log-dir: play what is missing or errored, keep the rest",
        _folder,
    ),
    Option(
        "--changed",
        "WAY",
        None,
        "regrade",
        "with --resume, where what grades recorded trials has changed: regrade (from their scores, or by a replay of "
        "their calls, without a model), rerun (play them again) or reuse (count them as they are; reports say so)",
        parse_way,
        has_ini=False,
    ),
    Option(
        "--regrade-only",
        "",
        False,
        "true",
        "with --resume and --changed=regrade: grade recorded trials anew and play nothing, as `rltask regrade` does",
        bool,
        is_switch=True,
        has_ini=False,
    ),
    Option(
        "--audit",
        "",
        False,
        "true",
        "check that each task is sound, by the policies that it ships; no model, no key, no run directory",
        bool,
        is_switch=True,
    ),
)


@dataclass(frozen=True)
class Options:
    """The settings of a run. None: left to the task."""

    runs: int
    model: tuple[str, ...]
    judge: tuple[str, ...]
    effort: str | None
    thinking: str | None
    thinking_display: str | None
    temperature: str | None
    top_p: str | None
    top_k: str | None
    reply_tokens: str | None
    request: tuple[str, ...]
    prices: tuple[str, ...]
    seed: int
    conv_steps: int | None
    trial_timeout: float | None
    reply_timeout: float | None
    concurrency: int | None
    sequential: bool
    shard: Shard | None
    band: Band | None
    gate: Gate
    stop_early: bool
    max_cost: float | None
    plan: bool
    sandbox: str
    engine: str
    log_dir: str
    resume: str | None
    changed: str | None
    regrade_only: bool
    audit: bool
    given: frozenset[str]
    """Names of the settings that the command line gave, and so override the marker."""

    @classmethod
    def read(cls, config: pytest.Config) -> Options:
        """Read the command line and the ini file.

        Raises:
            pytest.UsageError: a value cannot be used.
        """
        values: dict[str, Any] = {}
        given = set()
        for option in OPTIONS:
            typed = config.getoption(option.dest)
            if typed is not None:
                given.add(option.name)
            if typed is not None:
                values[option.name] = _parsed(option, typed, option.flag)
            elif option.has_ini and (written := _written(option, config)):
                values[option.name] = _parsed(option, written, f"ini setting {option.dest}:")
            else:
                values[option.name] = option.defaults
        if values["changed"] and values["resume"] is None:
            raise pytest.UsageError(
                f"--changed {values['changed']} goes with --resume, whose recorded trials it is about; "
                f"write --resume=last --changed={values['changed']}"
            )
        if values["regrade_only"] and values["changed"] != "regrade":
            raise pytest.UsageError(
                "--regrade-only goes with --resume=last --changed=regrade; write `rltask regrade last`"
            )
        if values["shard"] and values["stop_early"]:
            raise pytest.UsageError(
                f"--shard {values['shard']} sees a part of each pass rate, so it proves none; leave out --stop-early"
            )
        return cls(**values, given=frozenset(given))

    def command_line(self) -> list[tuple[str, ...]]:
        """Return the words of each option that reproduces these settings, whatever an ini file says."""
        from pytest_rltask.models.named import is_paid

        words: list[tuple[str, ...]] = []
        for option in OPTIONS:
            value = getattr(self, option.name)
            if value in (None, "local") or option.name in ("log_dir", "resume", "changed", "regrade_only", "plan"):
                continue
            if option.name == "judge" and "judge" not in self.given and not all(map(is_paid, self.model)):
                continue  # typed, the ini file's judge would be asked for policies and replays as well
            if option.is_switch:
                if value:
                    words.append((option.flag,))
                continue
            if option.name == "band":
                value = f"{value.low * 100:g},{value.high * 100:g}"
            ones = value if option.repeatable else [value]
            words += [(option.flag, f"{one:g}" if isinstance(one, float) else str(one)) for one in ones]
        return words


def add_options(parser: pytest.Parser) -> pytest.OptionGroup:
    """Register every option by its true name, and its ini setting; return the group."""
    group = parser.getgroup("rltask", "RL tasks for language models (pytest-rltask); for short --runs, --model, ...")
    for option in OPTIONS:
        default = f"; default {option.default}" if option.default is not None and not option.is_switch else ""
        group.addoption(option.long_flag, dest=option.dest, help=f"{option.help}{default}", **option.attributes)
        if not option.has_ini:
            continue
        parser.addini(option.dest, f"{option.flag}: {option.help}", type=option.ini_kind, default=None)
    parser.addini("rltask_ray_excludes", "--engine ray: patterns of files that do not travel", type="args", default=[])
    parser.addini("rltask_sandbox_allow_none", "allow --sandbox none although CI is set", type="bool", default=False)
    parser.addini(
        JUNIT_MISSED, "what a missed trial is in JUnit XML: passed or skipped; default passed", default="passed"
    )
    return group


def _written(option: Option, config: pytest.Config) -> Any:
    """Return what the ini file says; None if nothing."""
    try:
        return config.getini(option.dest)
    except (ValueError, TypeError, pytest.UsageError) as error:  # which of them depends on pytest's version
        if not option.is_switch:
            raise
        said = f"ini setting {option.dest}: {error}; write {option.dest} = {option.example}"
        raise pytest.UsageError(said) from None


def _parsed(option: Option, raw: Any, where: str) -> Any:
    if option.repeatable:
        return tuple(dict.fromkeys(raw))
    try:
        return option.parse(raw)
    except ValueError as error:
        write = f"{option.dest} = " if where.startswith("ini") else f"{option.flag} "
        raise pytest.UsageError(f"{where} {shlex.quote(raw)} is not {error}; write {write}{option.example}") from None
