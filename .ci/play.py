"""What `.ci/run` plays: a machine where nothing is installed, then one with bubblewrap, then other versions of Python.

The first pass is README's way: from a clone, with what may be installed here hidden. The second repeats, where
bubblewrap can be had, what depends on the backend. Each is played as root and as an ordinary user where CI is root.
`.ci/run WORD...` plays the parts with such a word in their title alone, and installs nothing on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hiding import CannotHideError, hiding
from player import Player
from results import AGAIN, BUBBLEWRAP, CHROMIUM, Case, failures, never_played, read, skipped, told

ROOT = Path(__file__).resolve().parents[1]
IS_ROOT = os.geteuid() == 0
ME = "root" if IS_ROOT else "an ordinary user"
MINUTES = 60
"""When parts are ended that still run: what CI may take on a quiet machine of two cores; it takes 40 there."""
FIRST, SECOND = "first pass", "second pass"
SECRET = f"RLTASK_SECRET={'0' * 32}"
"""What fixes the data of the tasks, as in the Makefile."""
OF_BUBBLEWRAP = "bwrap or not ([landlock or -landlock] or -landlock- or [none or -none] or -none-)"
"""What the second pass plays: bubblewrap changes nothing for what names another backend, and the first has played."""
LAST_FAILED = ("--last-failed", "--last-failed-no-failures=none")


class Ci:
    """The passes, and what they left to be told."""

    def __init__(self, only: Sequence[str], folder: Path, open_folder: Path) -> None:
        self.clone = folder / "pytest-rltask"
        self.reports = open_folder / "reports"
        self.reports.mkdir()
        self.reports.chmod(0o777)  # the ordinary user writes there too
        self.player = Player(self.clone, _environment(folder, open_folder), minutes=MINUTES, only=only)
        self.chosen = bool(only)
        """Whether parts were named: then nothing is installed on this machine."""
        self.left_out: list[str] = []
        _clone(self.clone)

    def first_pass(self) -> None:
        """Play what README promises, on a machine that has nothing."""
        try:
            hidden = hiding()
        except CannotHideError as error:
            self.player.fail(FIRST, str(error))
            return

        def play(title: str, *command: str) -> bool:
            return self.player.play(f"{FIRST}: {title}", *command, within=hidden)

        play("make bench", "make", "bench")
        play("README's commands", sys.executable, ".ci/readme.py")  # before the test extras are installed
        play("lint and types", "make", "lint")
        for target in ("test", "test-slow"):
            make = ("make", target, f"REPORTS={self._reports(FIRST)}")
            self.player.play(f"{FIRST}: make {target}", *make, within=hidden, again=[*make, "AGAIN=1"])
        play("honest programs", "make", "honest", f"BARE={self.reports}")
        self._as_user(FIRST, hidden, ("tests/sandbox", "benchmarks --audit"))
        play("installing it", sys.executable, ".ci/install.py")

    def second_pass(self) -> None:
        """Play once more, with bubblewrap, what depends on it; and the HTML page in a browser."""
        can_install = IS_ROOT and bool(shutil.which("apt-get")) and not self.chosen
        if can_install:
            _install("bubblewrap", "chromium")
        if not shutil.which("bwrap"):
            why = "bubblewrap is not installed" + (", and could not be" if can_install else "")
            if can_install:
                self.player.fail(SECOND, why)
            else:
                self.left_out.append(f"the second pass: {why}")
            return
        files = {"tests/sandbox"} | {
            case.file
            for lack in (BUBBLEWRAP, CHROMIUM)
            for case in skipped(self._cases(FIRST), lack)
            if not case.file.startswith("tests/sandbox/")
        }
        self.player.play(f"{SECOND}: environment", "make", ".venv/.dev")
        self.player.play(f"{SECOND}: honest programs", "make", "honest", "BACKENDS=bwrap", f"BARE={self.reports}")
        pytest = (".venv/bin/pytest", *sorted(files), "--ignore=tests/sandbox/test_honest.py", "-k", OF_BUBBLEWRAP)
        self._pytest(SECOND, "sandbox, attacks, HTML page", pytest, "tests", [])
        self.player.play(f"{SECOND}: make bench", "make", "bench")
        self._pytest(SECOND, "audit", ("env", SECRET, ".venv/bin/pytest", "benchmarks", "--audit"), "audit", [])
        self._as_user(SECOND, [], ("tests/sandbox", "benchmarks --audit"))

    def other_versions(self) -> None:
        """Play the plugin's own tests on each Python that it declares."""
        self.player.play("make compat", "make", "compat", f"REPORTS={self._reports('compat')}")

    def tell(self) -> int:
        """Print what was played and how it ended; return the exit status."""
        parts = self.player.parts
        print("\nminutes  part")
        for part in parts:
            print(f"{part.seconds / 60:7.1f}  {part.title}  {part.became}".rstrip())
        print(f"{sum(part.seconds for part in parts) / 60:7.1f}  in all")
        first, second = self._cases(FIRST), self._cases(SECOND)
        benches = {
            name: sorted(box for part in parts if part.title == f"{name}: make bench" for box in part.sandboxes)
            for name in (FIRST, SECOND)
        }
        for name, cases in ((FIRST, first), (SECOND, second)):
            print(told(name, cases, benches[name]))
        for environment in (line for part in parts for line in part.environments):
            print(environment)
        for thing in self.left_out:
            print(f"left out: {thing}")
        faults = [
            f"skipped for lack of bubblewrap in both passes, as {case.user}: {case.file}::{case.name}"
            for case in never_played(first, second)
        ]
        if hidden := {"bwrap", "docker"} & {*benches[FIRST], *(box for case in first for box in case.played)}:
            faults.append(f"{' and '.join(sorted(hidden))} played in the {FIRST}, though hidden")
        if set(benches[SECOND]) - {"bwrap"}:
            faults.append(f"make bench did not take bubblewrap in the {SECOND}")
        for fault in faults:
            print(f"FAILED: {fault}")
        for part in parts:
            for line in part.told:
                print(f"{part.title}: {line}")
        cases = [*first, *second, *self._cases("compat")]
        bad, unsteady = failures(cases)
        for word, some in (("UNSTEADY", unsteady), ("FAILED", bad)):
            for case in some:
                print(f"{word} as {case.user}: {case.file}::{case.name}: {case.reason[:300]}")
        failed = len(faults) + len(bad) + sum(part.failed for part in parts)
        passed = sum(case.status == "passed" for case in cases) + sum(not part.failed for part in parts)
        print(f"{passed} passed, {failed} failed")  # parts count as well
        return 1 if failed else 0

    def _as_user(self, name: str, within: Sequence[str], selections: Sequence[str]) -> None:
        """Play what depends on who runs it as an ordinary user, if we are not one."""
        if not IS_ROOT:
            return
        for selection in selections:
            title = "audit" if "--audit" in selection else "sandbox"
            # The table of honest programs is played by `make honest`, as this user too.
            rest = ["--ignore=tests/sandbox/test_honest.py"] if title == "sandbox" else []
            if title == "sandbox" and name == SECOND:
                rest += ["-k", OF_BUBBLEWRAP]
            python = ("env", SECRET, ".venv/bin/python", "-m", "tests.as_user", "python", "-m", "pytest")
            self._pytest(
                name, f"{title} as an ordinary user", (*python, *selection.split(), *rest), f"{title}-as-user", within
            )

    def _pytest(self, name: str, title: str, pytest: Sequence[str], report: str, within: Sequence[str]) -> None:
        """Play tests, and those that fail once more by themselves."""
        folder = self._reports(name)
        pytest = (*pytest, "-o", f"cache_dir={folder}/cache-{report}")  # what failed is remembered there
        self.player.play(
            f"{name}: {title}",
            *(*pytest, "-n", "2", f"--junitxml={folder}/{report}.xml"),
            within=within,
            again=[*pytest, *LAST_FAILED, f"--junitxml={folder}/{report}{AGAIN}.xml"],
        )

    def _reports(self, name: str) -> Path:
        folder = self.reports / name.replace(" ", "-")
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        return folder

    def _cases(self, name: str) -> list[Case]:
        return [
            case
            for path in sorted(self._reports(name).glob("*.xml"))
            for case in read(path, "an ordinary user" if "as-user" in path.stem else ME)
        ]


def _clone(into: Path) -> None:
    """Clone what is committed here, whoever owns it."""
    own = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    environment = os.environ | own
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(into)], env=environment, check=True)
    if changed := subprocess.check_output(["git", "status", "--short"], cwd=ROOT, env=environment, text=True):
        print(f"Not played, since it is not committed:\n{changed}", flush=True)


def _environment(folder: Path, open_folder: Path) -> dict[str, str]:
    """Return an environment whose home and temporary folder are ours, without what would change tests."""
    foreign = (
        "ANTHROPIC_",
        "KAGGLE",
        "CREDITCARD_",
        "PYTEST_",
        "RLTASK_",
        "DOCKER_",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "XDG_",
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    configured = (Path.home() / name for name in (".config/pip/pip.conf", ".pip/pip.conf"))
    if "PIP_CONFIG_FILE" not in environment and (found := next(filter(Path.exists, configured), None)):
        environment["PIP_CONFIG_FILE"] = str(found)
    if (pyenv := Path.home() / ".pyenv").exists():
        environment.setdefault("PYENV_ROOT", str(pyenv))
    (folder / "home").mkdir()
    # The open folder itself: paths of sockets in there must be short.
    # And `CI`, as any such machine sets it: pytest then cuts no line of its summary.
    return environment | {"HOME": str(folder / "home"), "TMPDIR": str(open_folder), "CI": "true"}


def _install(*packages: str) -> None:
    """Install what can be had, each by itself; that one cannot is seen by its absence."""
    install = ["apt-get", "install", "-y", "--no-install-recommends"]
    for words in (["apt-get", "update"], *([*install, package] for package in packages)):
        subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )


@contextlib.contextmanager
def _folders() -> Iterator[tuple[Path, Path]]:
    """Make a folder that is ours alone, as a home is, and one that others may enter."""
    closed, entered = (Path(tempfile.mkdtemp(prefix="ci-", dir="/tmp")) for _ in range(2))
    entered.chmod(0o1777)
    try:
        yield closed, entered
    finally:
        for folder in (closed, entered):
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    """Play the passes, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="play the parts with this in their title alone")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored, and tests send it
    with _folders() as folders:
        ci = Ci(options.words, *folders)
        if not IS_ROOT:
            ci.left_out.append("what needs root: sandboxes with users of their own, and root beside an ordinary user")
        ci.first_pass()
        ci.second_pass()
        ci.other_versions()
        return ci.tell()


if __name__ == "__main__":
    sys.exit(main())
