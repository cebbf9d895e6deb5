"""What the tests of a pass were, by their JUnit XML: which backends were played, what was skipped for lack of what."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

AGAIN = "~again"
"""How the name of a report ends whose tests had failed, and were played once more by themselves."""
BUBBLEWRAP, CHROMIUM, ROOT_ONLY = "bubblewrap", "Chromium", "being root"

_LACKS = {
    BUBBLEWRAP: r"bwrap|bubblewrap",
    "a Docker daemon": r"docker",
    CHROMIUM: r"chromium",
    "Landlock": r"landlock",
    "what the tasks need": r"what the tasks need|could not import",
}
"""What a test's reason to be skipped says, and what is lacking then."""
_BACKENDS = re.compile(r"(?<=[\[-])(bwrap|landlock|docker)(?=[\]-])")
"""A parameter that names the backend which a test plays."""
_DOCKERS = {"daemon": "docker", "stand-in": "docker by its stand-in"}
"""The same of the tests of docker alone."""


@dataclass(frozen=True)
class Case:
    """One test, and what became of it."""

    user: str
    """Who played it."""
    file: str
    name: str
    status: str
    reason: str = ""
    report: str = ""
    """What tells of it, by its name without :data:`AGAIN`."""
    again: bool = False
    """Whether it was played again, by itself."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others."""
        return self.user, self.file, self.name

    @property
    def lack(self) -> str:
        """What it was skipped for."""
        remedy_cut = self.reason.partition(";")[0]  # "install bubblewrap" is no lack of it
        if self.user != "root" and re.search(r"\broot\b", remedy_cut):
            return ROOT_ONLY
        named = (what for what, pattern in _LACKS.items() if re.search(pattern, remedy_cut, re.IGNORECASE))
        return next(named, f'"{remedy_cut[:80]}"')

    @property
    def played(self) -> set[str]:
        """The backends that it played, by its parameters."""
        if self.status == "skipped" or not self.file.startswith("tests/sandbox/"):
            return set()
        of_docker = _DOCKERS.items() if self.file.endswith("_docker.py") else ()
        dockers = {told for word, told in of_docker if re.search(rf"[\[-]{word}[\]-]", self.name)}
        return {*_BACKENDS.findall(self.name), *dockers}


def read(path: Path, user: str) -> Iterator[Case]:
    """Read a file of JUnit XML."""
    for case in ET.parse(path).iter("testcase"):
        ends = {child.tag: child.get("message", "") for child in case}
        status = next((tag for tag in ("error", "failure", "skipped") if tag in ends), "passed")
        file = case.get("classname", "").replace(".", "/") + ".py"
        report, again, _ = path.stem.partition(AGAIN)
        yield Case(user, file, case.get("name", ""), status, ends.get(status, ""), report, bool(again))


def failures(cases: Iterable[Case]) -> tuple[list[Case], list[Case]]:
    """Return the tests that failed, and those that failed and then passed when they were played by themselves."""
    by_key = {(case.report, *case.key, case.again): case for case in cases}
    failed = {key: case for key, case in by_key.items() if case.status in ("failure", "error") and not case.again}
    passed_again = {key for key in failed if (again := by_key.get((*key[:-1], True))) and again.status == "passed"}
    return (
        [case for key, case in failed.items() if key not in passed_again],
        [case for key, case in failed.items() if key in passed_again],
    )


def skipped(cases: Iterable[Case], lack: str) -> list[Case]:
    """Return the tests that were skipped for lack of something."""
    return [case for case in cases if case.status == "skipped" and case.lack == lack]


def never_played(first: Iterable[Case], second: Iterable[Case]) -> list[Case]:
    """Return the tests that the first pass skipped for lack of bubblewrap, and the second did not play either.

    A user who played nothing in the second pass is not asked for.
    """
    first, second = list(first), list(second)
    users = {case.user for case in second}
    played = {case.key for case in second if case.status != "skipped" or case.lack != BUBBLEWRAP}
    lacking = {case.key: case for case in skipped([*first, *second], BUBBLEWRAP) if case.user in users}
    return [case for key, case in lacking.items() if key not in played]


def told(name: str, cases: Iterable[Case], benches: Sequence[str]) -> str:
    """Return the line that says what a pass was."""
    cases = list(cases)
    backends = Counter((backend, case.user) for case in cases for backend in case.played)
    parts = [f"{backend} as {user} in {number} tests" for (backend, user), number in sorted(backends.items())]
    if benches:
        parts.append(f"make bench under {' and '.join(benches)}")
    lacks = Counter(case.lack for case in cases if case.status == "skipped")
    skips = [f"{number} for lack of {lack}" for lack, number in lacks.most_common()]
    return f"{name}: played {', '.join(parts) or 'no backend'}; skipped {', '.join(skips) or 'nothing'}"
