"""What an author writes: a task opens seeded episodes; an episode offers a prompt, tools and a grader.

A :class:`Task` is a frozen dataclass: its fields are its parameters, its content is its identity, and it
knows nothing of pytest. :meth:`Task.open` makes one :class:`Episode` from a seed. The harness lets a model
and the episode's tools alternate, then asks the episode for a :class:`Grade`.

Mistakes in these definitions are found when the class is created or collected, not in the middle of a paid
trial, and are raised as :class:`DefinitionError` with the line to write.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import json
import math
import random
import re
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from pytest_rltask.judges.judge import Asker, Judge
from pytest_rltask.source.written import identity
from pytest_rltask.tools import DefinitionError, ToolCall, tool_names

if TYPE_CHECKING:
    from pytest_rltask.media.attached import Image, Pdf

__all__ = ["Band", "Episode", "Grade", "Limits", "Policy", "PolicyView", "Resources", "Task", "TaskWarning", "is_cheat"]


class TaskWarning(UserWarning):
    """A task may lack something that its author forgot; the message says how to say that it is meant."""


@dataclass(frozen=True, order=True)
class Band:
    """The interval, both ends included, that a task's pass rate should lie in."""

    low: float = 0.10
    """Smallest acceptable pass rate, in [0, 1]."""
    high: float = 0.40
    """Largest acceptable pass rate, in [0, 1]."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.low < self.high <= 1.0:
            raise ValueError(f"a band needs 0 <= low < high <= 1, got {self.low:g},{self.high:g}")

    def __contains__(self, rate: object) -> bool:
        return isinstance(rate, float | int) and self.low <= rate <= self.high

    def __str__(self) -> str:
        return f"{self.low * 100:g}-{self.high * 100:g} %"


@dataclass(frozen=True)
class Limits:
    """Where a trial ends although the model would go on. The record says which limit fired."""

    turns: int = 10
    """Assistant messages a trial may take (``--conv-steps``)."""
    tool_calls: int | None = None
    """Valid tool calls that may run; None for no limit. The model is told after each turn how many remain."""
    total_tokens: int | None = None
    """Tokens billed in all requests of the trial, cached ones included; None for no limit."""
    wall_s: float = 900.0
    """Seconds a conversation may take (``--trial-timeout``), checked after each reply and each tool call.
    Time lost to faults and limits of the API does not count, nor does that of judges.
    """
    reply_tokens: int = 16_000
    """Tokens of one reply: the ``max_tokens`` of each request (``--reply-tokens``)."""
    tool_output_chars: int = 20_000
    """Characters of one tool's output that reach the model; of a longer one the middle is cut."""
    tool_s: float = 300.0
    """Seconds one call into the task may take, be it a tool, grading or closing, without the time of judges it asks.
    More is a fault of the task."""

    def __post_init__(self) -> None:
        for limit in dataclasses.fields(self):
            if (value := getattr(self, limit.name)) is not None and not value > 0:
                raise ValueError(f"Limits.{limit.name} must be positive, got {value!r}")


@dataclass(frozen=True)
class Resources:
    """What a trial needs of a machine, maybe a part of a core (None: not counted); ``--engine ray`` heeds it."""

    cpus: float = 1.0
    memory_mb: int | None = None
    gpus: float = 0.0
    custom: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not all(0 <= value < math.inf for value in (self.cpus, self.memory_mb or 0, self.gpus)):
            raise ValueError(f"Resources are numbers from 0 on, got {self}")


@dataclass(frozen=True)
class Grade:
    """What the grader says of a finished episode.

    Example:
        >>> Grade(score=0.9, threshold=0.875).passed
        True
        >>> Grade(score=1.0, threshold=0.875, cheated=True, reason="trained on test.csv").passed
        False
    """

    score: float
    """The raw score; must be finite."""
    threshold: float | None = None
    """The score that passes; None leaves the judgement to the test's assertion."""
    passed: bool | None = None
    """Whether the trial passed. By default ``score >= threshold``, and never for a cheated trial."""
    cheated: bool = False
    """The grader proved tampering. Counts as failed, is reported apart, and no assertion can turn it into a pass."""
    label: str = "score below threshold"
    """A few words that name the kind of failure; the report counts trials by it."""
    reason: str = ""
    """One sentence for a person: why the trial failed, with its numbers."""
    metrics: Mapping[str, float | int | str | bool | None] = field(default_factory=dict)
    """Whatever else was measured; JSON scalars only."""

    def __post_init__(self) -> None:
        if self.cheated:
            object.__setattr__(self, "passed", False)
        elif self.passed is None and self.threshold is not None:
            object.__setattr__(self, "passed", bool(self.score >= self.threshold))

    def problem(self) -> str | None:
        """Say in a sentence why this grade cannot be used, or None if it can."""
        try:
            score = float(self.score)
        except (TypeError, ValueError):
            return f"the grader's score is {self.score!r}; it must be a number"
        if not math.isfinite(score):
            return f"the grader's score is {score}; it must be finite (no score is not a score of zero)"
        if self.threshold is not None and not math.isfinite(self.threshold):
            return f"the grader's threshold is {self.threshold}; it must be finite"
        return None


@dataclass(frozen=True)
class PolicyView:
    """What a scripted policy may see: just what a model sees, and a source of randomness of its own."""

    prompt: str
    """The episode's prompt."""
    tools: tuple[str, ...]
    """Names of the episode's tools."""
    seed: int
    """The trial's seed."""
    rng: random.Random
    """Seeded from the policy's name and the trial's seed."""
    history: tuple[str, ...] = ()
    """What earlier runs tried, a line each, as the first message shows it under ``--sequential``."""


Policy = Callable[[PolicyView], Generator["ToolCall | Sequence[ToolCall] | str", Any, None]]
"""A scripted policy: a generator function that plays an episode.

It yields a :class:`~pytest_rltask.ToolCall` and receives its :class:`~pytest_rltask.ToolResult`; or a list of
calls (one turn, in parallel) and receives the list of results; or a string, which is said to the harness as
a reply without tools. It ends its turn for good by returning. To call a tool that does not exist is a bug of the
suite, which makes the trial errored; a cheat may try it.
"""


def is_cheat(policy: str) -> bool:
    """Say whether the policy of a name is one that cheats, so that it must never pass."""
    return policy.startswith("cheat")


@dataclass(frozen=True)
class Task:
    """The definition of an RL problem. Subclass it as a frozen dataclass whose fields are the parameters.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True)
        ... class Guess(Task):
        ...     high: int = 100
        ...     def open(self, seed: int) -> Episode:
        ...         raise NotImplementedError
        >>> Guess(high=10).name
        'guess'
    """

    band: ClassVar[Band] = Band()
    """The pass rates at which the task is worth training on; ``band=`` in the marker overrides it."""
    policies: ClassVar[Mapping[str, Policy]] = {}
    """Scripted policies by name, for ``--model policy:NAME`` and ``--audit``; usually null, naive, baseline, solver,
    and one ``cheat_...`` for each way in which a model might cheat."""
    judges: ClassVar[Mapping[str, Judge]] = {}
    """Models that its episodes ask, by the name that :meth:`Episode.ask` gives: graders, simulated customers."""
    needs_sandbox: ClassVar[bool] = False
    """Whether its episodes make a :class:`~pytest_rltask.Sandbox`. Nothing is played then where none works."""
    needs_tools: ClassVar[bool] = True
    """Whether its episodes are to have tools. False says that a model is meant to answer in words alone."""
    needs_seed: ClassVar[bool] = True
    """Whether its episodes are to differ by seed. False: all runs are meant to play the same instance."""
    sources: ClassVar[Sequence[str]] = ()
    """What else its grades depend on: files that no import leads to, such as data, and installed packages.

    Paths and patterns are relative to the folder of the task's module. A run is resumed only where all this, and what
    the task and its test reach of the project, is what it was: see ``--changed``.
    """
    resources: ClassVar[Resources] = Resources()
    """What a trial needs where ``--engine ray`` plays it."""

    @property
    def carried_environment(self) -> Mapping[str, str]:
        """Variables that decide what its episodes are, and that travel to machines that play it; in memory alone."""
        return {}

    @property
    def name(self) -> str:
        """The task's name in reports: by default the class name in snake_case."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type(self).__name__).lower()

    @property
    def limits(self) -> Limits:
        """The limits of one trial; options of the command line override them."""
        return Limits()

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Numbers that the grader enforces beside its threshold, by name; ``--audit`` looks for each in the prompt."""
        return {}

    def open(self, seed: int) -> Episode:
        """Open the episode of a seed. Everything random in it must follow from the seed."""
        raise NotImplementedError

    def digest(self) -> str:
        """Return 16 hex digits that identify the class and the values of its fields."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        text = json.dumps([type(self).__module__, type(self).__qualname__, fields], sort_keys=True, default=identity)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def __init_subclass__(cls, *, abstract: bool = False) -> None:
        super().__init_subclass__()
        if not abstract and cls.open is Task.open:
            raise DefinitionError(
                f"task {cls.__name__} cannot be opened; add `def open(self, seed: int) -> Episode: ...` to it"
            )
        _check_properties(cls, "thresholds")
        for name, judge in cls.judges.items() if isinstance(cls.judges, Mapping) else ():
            if not isinstance(judge, Judge):
                model = judge if isinstance(judge, str) else "claude-..."
                raise DefinitionError(
                    f"task {cls.__name__}: its judge {name!r} is {judge!r}; write "
                    f'judges = {{"{name}": Judge("{model}", scripted=...)}}'
                )


class KeptFile(Protocol):
    """A file that is kept as an artifact; ``Sandbox.file`` gives one."""

    def read(self, *, max_bytes: int) -> bytes:
        """Return its content, or refuse if it is longer."""


class Episode(Asker):
    """One instance of a task: a prompt, tools and a grader, over a dataset drawn from a seed.

    Subclass it, write the ``prompt`` property and :meth:`grade`, and mark each method that the model may call with
    :func:`pytest_rltask.tool`. No two of its methods run at once, save :meth:`close`, which an interrupted trial calls
    while a tool is still at work. Tools, :meth:`lay_out`, :meth:`nudge`, :meth:`finish`, :meth:`grade`, :meth:`close`
    and `tried` may block: they run off the event loop; all but the last two may be ``async`` instead, and run on it.
    The other properties and hooks must be quick. A ``with`` block lays an episode out and closes it, without a harness.
    """

    tools: Sequence[object] = ()
    """Objects whose methods marked ``@tool`` are tools as well, such as ``BashTool(self.sandbox)``; set as it opens."""

    def lay_out(self) -> Awaitable[None] | None:
        """Do what takes time and the prompt needs not, such as drawing data, while the model reads its prompt.

        Called once, behind `prompt`, `system` and the tools; nothing else is asked until it has returned. What may well
        fail belongs into :meth:`Task.open`: by the time that this fails, a request is paid.
        """

    @property
    def prompt(self) -> str | list[str | Image | Pdf]:
        """The first user message: a text, or a list of texts, images and documents."""
        raise NotImplementedError

    @property
    def system(self) -> str:
        """The system prompt; empty for none."""
        return ""

    @property
    def done(self) -> bool:
        """True once nothing that follows could change the grade: the trial then ends.

        A tool that makes it true ends the turn at once; further calls of the same reply are refused. If the text
        of a reply makes it true (see :meth:`observe`), the tools of that reply still run.
        """
        return False

    @property
    def info(self) -> Mapping[str, float | int | str | bool | None]:
        """Facts about this instance for the record (difficulty, sizes); never a secret or a label."""
        return {}

    @property
    def tried(self) -> str:
        """What this run has tried, in one line for the prompts of later runs under ``--sequential``; empty for nothing.

        Never a score or anything hidden: it is read when the conversation has ended, before anything is graded.
        """
        return ""

    @property
    def hidden(self) -> Mapping[str, Any]:
        """What the agent must never read, by name: labels, an answer, a key. ``--audit`` looks for each value.

        Strings, bytes, numbers, and sequences or arrays of these; none that a text may hold by chance: small numbers.
        """
        return {}

    def observe(self, reply: str) -> None:
        """See the text of each reply of the model, before its tools run."""

    def remind(self) -> str | None:
        """Return a text to append after this turn's tool results, such as the remaining budget; or None."""
        return None

    def nudge(self) -> str | Awaitable[str | None] | None:
        """Return what to answer a model that stopped calling tools although not `done`; None ends the trial."""
        return None

    def finish(self) -> Awaitable[None] | None:
        """Submit on the model's behalf, where the task does so; called once before :meth:`grade`."""
        return None

    def artifacts(self) -> Mapping[str, bytes | str | KeptFile]:
        """Name what the grader reads, to be kept in the run directory: contents, or files of a sandbox, by name.

        Asked between :meth:`finish` and :meth:`grade`. How much is kept at most is told in docs/graders.md.
        """
        return {}

    def regrade(self, artifacts: Mapping[str, bytes]) -> Grade | Awaitable[Grade]:
        """Grade what was kept of a trial of this seed, in a fresh episode that nobody has played.

        Where the grader changes, no conversation need be replayed then. It must say what :meth:`grade` would have said.
        """
        raise NotImplementedError

    def grade(self) -> Grade | Awaitable[Grade]:
        """Grade the episode. Anything it raises is a fault of the task, never a failed trial."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the episode holds: processes, files. Called exactly once, whatever happened."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as closing:
            closing.callback(self.close)  # if that fails
            self.lay_out()
            closing.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __init_subclass__(cls, *, abstract: bool = False) -> None:
        super().__init_subclass__()
        if abstract:
            return
        own = [name for name in dir(Episode) if not name.startswith("_")]
        if taken := [name for name in tool_names(cls) if name in own]:
            raise DefinitionError(
                f"the tool {cls.__name__}.{taken[0]} would replace the episode's own {taken[0]}, which the harness "
                f"calls; give it another name: all are free but {', '.join(own)}"
            )
        if cls.grade is Episode.grade:
            raise DefinitionError(f"episode {cls.__name__} has no grader; add `def grade(self) -> Grade: ...` to it")
        if cls.regrade is not Episode.regrade and cls.artifacts is Episode.artifacts:
            raise DefinitionError(
                f"episode {cls.__name__} regrades artifacts but names none to keep; add "
                f"`def artifacts(self): return {{'answer.txt': ...}}` to it"
            )
        _check_properties(cls, "prompt", "system", "done", "info", "tried", "hidden")
        if cls.prompt is Episode.prompt:
            raise DefinitionError(
                f"episode {cls.__name__} has no prompt; add a property `def prompt(self) -> str: ...` to it"
            )


def _check_properties(cls: type, *names: str) -> None:
    for name in names:
        if inspect.isfunction(getattr(cls, name)):
            raise DefinitionError(f"{cls.__name__}.{name} is a property; write @property above `def {name}(self)`")
