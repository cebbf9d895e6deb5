"""How long does a run take to end after Ctrl-C? Seconds from the signal until its last process is gone.

Run as `make bench-interrupt`. The signal goes to the whole process group, as from a terminal, or to pytest's own
process alone, as from a supervisor. Whatever is left behind, or another exit status than 2, is told.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import statistics
import tempfile
import time
from pathlib import Path

from tests.support.interruption import SITUATIONS, started

TARGET_S = 2.0
WAYS = {
    "Ctrl-C": ((signal.SIGINT, True),),
    "SIGINT to pytest": ((signal.SIGINT, False),),
    "SIGTERM to pytest": ((signal.SIGTERM, False),),
    "Ctrl-C twice": ((signal.SIGINT, True), (signal.SIGINT, True)),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each situation")
    parser.add_argument("--only", default="", help="situations, ways or workers whose line holds this text")
    options = parser.parse_args()
    print(f"{'while':<11}{'signal':<19}{'workers':<9}{'median':>7}{'max':>8}   (target: at most {TARGET_S:g} s)")
    for name in SITUATIONS:
        for way in WAYS:
            for workers in ((), ("-n", "2")):
                head = f"{name:<11}{way:<19}{' '.join(workers) or '-':<9}"
                if options.only in head:
                    print(head, end="", flush=True)
                    print(measured([interrupt(name, way, workers) for _ in range(options.rounds)]), flush=True)


def interrupt(name: str, way: str, workers: tuple[str, ...]) -> tuple[float, str]:
    """Return the seconds that one run took to end, and what was wrong with its end."""
    with tempfile.TemporaryDirectory() as folder:
        with started(Path(folder, "run"), SITUATIONS[name], "--runs", "20", *workers) as run:
            first, *more = WAYS[way]
            run.signal(first[0], group=first[1])
            for number, group in more:
                time.sleep(0.2)
                with contextlib.suppress(ProcessLookupError):  # it was faster
                    run.signal(number, group=group)
        wrong = [f"left {left}" for left in run.left]
        if run.process.returncode != 2:
            wrong.append(f"exit status {run.process.returncode}")
        if not list(run.folder.glob("logs/*/report.html")):
            wrong.append("no report")
        if "--resume" not in run.output:
            wrong.append("no word of --resume")
        return run.seconds, "; ".join(wrong)[:200]


def measured(rounds: list[tuple[float, str]]) -> str:
    """Return a line's numbers, and each thing that went wrong once."""
    seconds = [one for one, _ in rounds]
    wrong = "; ".join(sorted({said for _, said in rounds if said}))
    return f"{statistics.median(seconds):6.2f} s{max(seconds):6.2f} s   {wrong}"


if __name__ == "__main__":
    main()
