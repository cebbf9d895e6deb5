"""The record of a finished trial: plain data, JSON in and out.

Everything downstream (report, gate, replay, export) works from records alone, so that what is shown after a
run can be shown again years later from the run directory.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pytest_rltask.run.asked import Asked, asked_from_json

__all__ = [
    "SCHEMA_VERSION",
    "Artifact",
    "Fault",
    "FaultKind",
    "Outcome",
    "Record",
    "RequestLog",
    "Step",
    "Usage",
    "clean_text",
    "cost_text",
    "dollars",
    "error_text",
    "known_fields",
    "outcome_word",
    "plain",
    "request_from_json",
]

SCHEMA_VERSION = 1
"""Version of the JSON form; raised when a field changes its meaning."""

Outcome = Literal["passed", "failed", "cheated", "errored"]
"""How a trial ended. ``errored`` is a fault of the API, the sandbox or the task: never counted in a pass rate."""

FaultKind = Literal["api", "sandbox", "task", "harness", "process"]
"""Whose fault an errored trial is; ``harness`` is ours, ``process`` that of one that died playing it, whatever of."""

CUT_OFF = "cut off"
"""The label of a trial that the end of its run interrupted, after it had cost something."""


@dataclass(frozen=True)
class Usage:
    """Tokens billed by a request, or summed over a trial."""

    input_tokens: int = 0
    """Prompt tokens that no cache served."""
    output_tokens: int = 0
    """Generated tokens, thinking included."""
    cache_read_tokens: int = 0
    """Prompt tokens served from the cache."""
    cache_write_tokens: int = 0
    """Prompt tokens written to the cache."""

    @property
    def total(self) -> int:
        """All tokens billed."""
        return self.input_tokens + self.output_tokens + self.cache_read_tokens + self.cache_write_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cache_read_tokens + other.cache_read_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
        )


@dataclass(frozen=True)
class RequestLog:
    """One answered request to the model."""

    request_id: str | None
    """The API's id of the request, to quote to its support; None for scripted policies."""
    model: str
    """The model that answered, as it names itself."""
    stop_reason: str
    usage: Usage
    cost_usd: float | None
    """Price in US dollars; None when the model's price is unknown."""
    latency_s: float
    """Seconds from the moment at which the trial asked to the answer."""
    lost_s: float = 0.0
    """Seconds of these that went into attempts that failed and into waits for the API's limits."""
    faults: tuple[str, ...] = ()
    """What went wrong in earlier attempts at this request, in order."""
    empty: bool = False
    """True if the reply had no content at all, so that the history holds no message for it."""
    priced_as: str = ""
    """The model whose price the cost is by, if that of the one which answered is not known."""
    guessed_usd: float = 0.0
    """What of the cost is an estimate, of replies that did not arrive and may be billed."""
    judge: str = ""
    """The judge that the task's code asked; empty if it is a request of whoever plays."""


@dataclass(frozen=True)
class Fault:
    """Why a trial is errored."""

    kind: FaultKind
    message: str
    """One or two lines for a person."""
    request_id: str | None = None
    """The API's id of the request that failed last."""
    fatal: bool = False
    """True if no other trial of the run could fare better (bad key, spend limit): the run stops."""
    details: str = ""
    """Traceback of a fault in the task's code."""
    code_ran: bool | None = None
    """Of a fault of the sandbox, whether code of the model had run in it; None: an earlier version did not note it."""

    @property
    def place(self) -> str:
        """Where it happened: equal for faults that differ in what the exception says alone."""
        frames, kinds, is_code = [], [], False
        for line in self.details.splitlines():
            if line.startswith('  File "'):
                frames.append(line.strip())
            elif is_code and line and not line[0].isspace():
                kinds.append(line.partition(":")[0])  # the exception, behind the code that raised it
            is_code = line.startswith(("    ", '  File "'))
        return "\n".join([self.kind, *frames, *kinds] if frames else [self.kind, self.message])


@dataclass(frozen=True)
class Step:
    """What became of a grade after its trial had ended, since what grades had changed."""

    how: Literal["threshold", "artifacts", "replay", "reuse"]
    """Graded anew from the recorded score, from what was kept, by the recorded calls, or left as it was at the user's
    word."""
    at: str
    """UTC time, ISO 8601."""
    grader: str
    """Digest of what grades since."""
    changes: str
    """How that differs from what graded before, in words."""
    before: dict[str, Any] = field(default_factory=dict)
    """The grade that it had, and the digest of what had given it."""


@dataclass(frozen=True)
class Artifact:
    """A file that a trial's grader read, as it is kept in the run directory."""

    name: str
    """As the episode calls it."""
    path: str
    """Where it is, below the run directory."""
    bytes: int
    sha256: str


@dataclass
class Record:
    """Everything about one finished trial."""

    trial_id: str
    """Unique in its run directory: the item's node id."""
    task: str
    task_digest: str
    """Identity of the task by content, see :meth:`pytest_rltask.Task.digest`."""
    model: str
    """The model as named by ``--model``."""
    run: int
    """Index of the run of this task and model, from 0."""
    seed: int
    outcome: Outcome = "errored"
    label: str = ""
    """A few words that name the kind of failure; reports count by it."""
    reason: str = ""
    """One sentence: why the trial did not pass."""
    score: float | None = None
    """The grader's raw score; None when there is no grade."""
    threshold: float | None = None
    grade_passed: bool | None = None
    """Whether the grader passed the trial, before the test's assertion; None: it named no threshold."""
    metrics: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    """Facts about the episode, see :attr:`pytest_rltask.Episode.info`."""
    tried: str = ""
    """What it tried, for the prompts of later runs, see :attr:`pytest_rltask.Episode.tried`."""
    stop: str = ""
    """Why the conversation ended: ``done``, a stop reason of the model, or ``limit``."""
    limit: str | None = None
    """The limit that fired: turns, tool_calls, total_tokens or wall."""
    fault: Fault | None = None
    prompt_digest: str = ""
    tools_digest: str = ""
    system: str = ""
    tools: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    """The whole conversation in the form of the Messages API."""
    asked: list[Asked] = field(default_factory=list)
    """What the task's code asked judges, and what they answered."""
    requests: list[RequestLog] = field(default_factory=list)
    turns: int = 0
    tool_calls: int = 0
    """Valid tool calls that ran."""
    sandbox: str = ""
    """What isolated the code that it ran; ``none`` if nothing did, empty if it made no sandbox."""
    images: dict[str, str] = field(default_factory=dict)
    """The container images of its sandboxes, by name, each with the id that it had."""
    surroundings: str = ""
    """What the harness told the model of that, where honest code may miss something there."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock seconds by phase: open, model, tools, grade, total."""
    started: str = ""
    """UTC time of the start, ISO 8601."""
    grader: str = ""
    """Digest of what its grade is by, see ``graders/`` in the run directory; empty if an earlier version wrote it."""
    history: list[Step] = field(default_factory=list)
    """The grades that it had before, the oldest first."""
    artifacts: list[Artifact] = field(default_factory=list)
    """What its grader read and is kept, see :meth:`pytest_rltask.Episode.artifacts`."""
    settings: dict[str, str] = field(default_factory=dict)
    """What was set of its model, by name, as it stands behind the model's own; empty if an earlier version wrote it."""
    artifacts_left_out: dict[str, str] = field(default_factory=dict)
    """What is not kept of that, by name, and why."""
    media: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    """Images and documents that its messages refer to, by file, until they are on disk; no part of the JSON form."""
    judges: dict[str, str] = field(default_factory=dict)
    """Which model each judge of its task stood for; see :mod:`pytest_rltask.models.judges`."""
    judge_requests: list[RequestLog] = field(default_factory=list)
    """The requests to judges."""

    @property
    def graded(self) -> bool:
        """Whether it was played to its grade; all that can be missing then is the judgement of the test's assertion."""
        return self.outcome != "errored" or (self.fault is None and self.score is not None)

    @property
    def reused(self) -> list[Step]:
        """The steps that left its grade as it was, since it was last graded."""
        last = max((n for n, step in enumerate(self.history, start=1) if step.how != "reuse"), default=0)
        return self.history[last:]

    @property
    def graded_by(self) -> str:
        """Digest of what gave it the grade that it has, which the user may have let count for a later one."""
        return str(self.reused[0].before.get("grader", "")) if self.reused else self.grader

    @property
    def usage(self) -> Usage:
        """Tokens of all requests of whoever played; those of judges are not among them."""
        return sum((request.usage for request in self.requests), Usage())

    @property
    def judge_usage(self) -> Usage:
        """Tokens of all requests to judges."""
        return sum((request.usage for request in self.judge_requests), Usage())

    @property
    def paid_requests(self) -> list[RequestLog]:
        """All requests: of whoever played, then to judges."""
        return [*self.requests, *self.judge_requests]

    @property
    def cost_usd(self) -> float | None:
        """Cost of all requests, those to judges included, in US dollars; None when the price of any is unknown."""
        return _cost(self.paid_requests)

    @property
    def player_cost_usd(self) -> float | None:
        """What whoever played cost of that."""
        return _cost(self.requests)

    @property
    def judge_cost_usd(self) -> float | None:
        """What judges cost of that."""
        return _cost(self.judge_requests)

    @property
    def known_cost_usd(self) -> float:
        """Cost of the requests whose price is known, those to judges included, in US dollars."""
        return sum(request.cost_usd for request in self.paid_requests if request.cost_usd is not None)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON data, in which the conversation is the record's own and no copy."""
        told = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "media"}
        return {name: value if name in _JSON_FIELDS else plain(value) for name, value in told.items()}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Record:
        """Rebuild a record; fields this version does not know are dropped.

        Raises:
            ValueError: the data are not a trial's record.
        """
        try:
            known = known_fields(cls, data)
            known.pop("media", None)
            for name in ("requests", "judge_requests"):
                known[name] = [request_from_json(entry) for entry in known.get(name, [])]
            known["asked"] = [asked_from_json(one) for one in known.get("asked", [])]
            known["fault"] = Fault(**known_fields(Fault, known["fault"])) if known.get("fault") else None
            known["history"] = [Step(**known_fields(Step, step)) for step in known.get("history", [])]
            known["artifacts"] = [Artifact(**known_fields(Artifact, one)) for one in known.get("artifacts", [])]
            if known["outcome"] not in get_args(Outcome):
                raise ValueError(f"unknown outcome {known['outcome']!r}")
            for name, kind in _KINDS.items():
                if not isinstance(known.get(name, kind()), kind):
                    raise TypeError(f"its {name} is {type(known[name]).__name__}")
            if not isinstance(known.get("score") or 0.0, int | float):
                raise TypeError(f"its score is {known['score']!r}")
            return cls(**known)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a trial's record: {error}") from error


def plain(value: Any) -> Any:
    """Return a value of a record, such as one of its dataclasses, as JSON data."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    fields = getattr(type(value), "__dataclass_fields__", None)
    return value if fields is None else {name: plain(getattr(value, name)) for name in fields}


_JSON_FIELDS = ("messages", "tools")
"""What holds JSON data alone, and most of it: copied block by block it would take longer than all that is written."""
_KINDS: dict[str, type[Any]] = {
    "trial_id": str, "task": str, "model": str, "label": str, "reason": str, "messages": list, "tools": list,
    "metrics": dict, "settings": dict, "info": dict, "images": dict, "seconds": dict, "started": str, "turns": int,
    "tool_calls": int, "seed": int, "run": int, "judges": dict,
}  # fmt: skip
"""What others build on, and a file that somebody else wrote may hold otherwise."""


def _cost(requests: list[RequestLog]) -> float | None:
    """Return what requests cost together; None when the price of any is unknown."""
    costs = [request.cost_usd for request in requests]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def clean_text(text: str) -> str:
    """Replace lone surrogates, which a model may write and neither UTF-8 nor pytest-xdist can carry."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def dollars(usd: float) -> str:
    """Return an amount in US dollars, to the cent or, below one dollar, closer."""
    return f"${usd:.2f}" if usd >= 0.995 else f"${usd:.4f}"


def cost_text(usd: float | None, known_usd: float) -> str:
    """Return a cost in words, of which maybe only a part is known.

    Args:
        usd: all of it; None: not known.
        known_usd: what is known of it.

    Example:
        >>> cost_text(1.5, 1.5), cost_text(None, 0.25), cost_text(None, 0.0)
        ('$1.50', '>= $0.2500', 'unknown')
    """
    if usd is not None:
        return dollars(usd)
    return f">= {dollars(known_usd)}" if known_usd else "unknown"


def error_text(error: BaseException) -> str:
    """Return what an exception says, even if it cannot say it."""
    try:
        return clean_text(str(error))
    except Exception:
        return "(its message cannot be shown)"


def outcome_word(outcome: str) -> str:
    """Return what people and CI read for an outcome: a trial without its pass has missed, only runs and tests fail."""
    return "missed" if outcome == "failed" else outcome


def known_fields(cls: type[Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the entries that this version's dataclass has a field for; a later one may have written more."""
    fields = cls.__dataclass_fields__
    return {name: _shared(value) for name, value in data.items() if name in fields}


def _shared(value: Any) -> Any:
    """Return a value; a short text, such as a model's name, is in memory once for all records of a run."""
    return sys.intern(value) if type(value) is str and len(value) <= 100 else value


def request_from_json(entry: dict[str, Any]) -> RequestLog:
    """Rebuild what a record says of a request."""
    usage = Usage(**known_fields(Usage, entry["usage"]))
    if not all(isinstance(count, int) for count in (usage.input_tokens, usage.output_tokens, usage.total)):
        raise TypeError("tokens that are no numbers")
    return RequestLog(**{**known_fields(RequestLog, entry), "usage": usage, "faults": tuple(entry["faults"])})
