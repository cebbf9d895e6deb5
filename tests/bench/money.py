"""Is what a run says it cost what the server was paid, however the run ends?

Run as `make bench-money`. Each way to end plays 200 trials of three turns against a scripted Messages API, where each
kind of fault meets 5 % of the first attempts at a turn. `paid` is the sum of all replies that the server's journal says
arrived, at the price of the model; `counted` is what the run directory says without estimates. What else may be billed,
replies cut off or late, the run directory estimates; and what the server sent as the client left is told apart.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pytest_rltask.run.load import load_run
from tests.bench.kills import SUITE as ADD
from tests.bench.kills import TURNS, Suite
from tests.support.messages_api import MessagesAPI, Step, cut_body, disconnect, hang, raw, reply, status, text, tool_use

USAGE = {"input_tokens": 10_000, "output_tokens": 2_000}
EACH = 0.02
"""Dollars that a reply costs: $1 and $5 per million tokens."""
SHARE = 0.05
FILE_BYTES = 250_000
"""How long the file of records may become where the disk is full."""
MIDST = """

def test_fails():
    assert {holds}


{marks}@pytest.mark.rltask(task=Add(), name="more", runs={runs})
def test_more(trial):
    assert trial.passed
"""


class Server:
    """Answers as `kills.script` does, at a price; and meets first attempts with faults."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._asked: Counter[str] = Counter()

    def __call__(self, body: dict[str, Any], turn: int) -> Step:
        """Return the answer to a request."""
        number = self._rng.random() / SHARE
        answers = reply(tool_use("add", {"number": turn}), usage=USAGE)
        if turn == TURNS - 1:
            answers = reply(text("I do not know."), usage=USAGE)
        broken = raw(200, "text/html", b"<h1>Log in</h1>")
        faults = (status(429), status(500), status(529), disconnect(), cut_body(answers), hang(), broken)
        is_first = len(self._asked) > 0  # one that hangs before any answer ends the run, as it should
        self._asked[str(turn)] += 1
        return faults[int(number)] if number < len(faults) and is_first else answers


def _after(requests: int, number: signal.Signals) -> Callable[[subprocess.Popen[str], MessagesAPI], None]:
    def end(process: subprocess.Popen[str], api: MessagesAPI) -> None:
        api.wait_for_requests(requests, timeout_s=120)
        process.send_signal(number)

    return end


def _let(process: subprocess.Popen[str], api: MessagesAPI) -> None:
    pass


_OF_PYTEST_TIMEOUT = {
    "a timeout": (("--timeout=1",), _let),
    "its os._exit": ((), _let),
}
"""Where pytest-timeout is installed. A limit for all tests does not count the wait for a trial; a test's own does."""
_HARSH = '@pytest.mark.timeout(1, method="thread")\n'
"""A reply that never comes takes 2 s, and then this ends the process."""


def ways(trials: int) -> dict[str, tuple[tuple[str, ...], Callable[[subprocess.Popen[str], MessagesAPI], None]]]:
    """Return how runs end: by which options, and by what."""
    midst = TURNS * trials // 2
    return {
        "its own end": ((), _let),
        "Ctrl-C": ((), _after(midst, signal.SIGINT)),
        "SIGTERM": ((), _after(midst, signal.SIGTERM)),
        "-x": (("-x",), _let),
        "--maxfail=1": (("--maxfail=1",), _let),
        "kill -9": ((), _after(midst, signal.SIGKILL)),
        "a full disk": ((), _let),
        **(_OF_PYTEST_TIMEOUT if find_spec("pytest_timeout") else {}),
    }


def play(way: str, *, trials: int, seed: int) -> str:
    """Play a run that ends in a way, and return the line that tells of it."""
    arguments, end = ways(trials)[way]
    stops = way in ("-x", "--maxfail=1")
    with (
        tempfile.TemporaryDirectory(prefix="money-") as folder,
        MessagesAPI(Server(seed), latency_s=0.02, allow_violations=True) as api,
        Suite(Path(folder), trials=trials // 2, workers=0, api=api) as suite,
    ):
        marks = _HARSH if way == "its os._exit" else ""
        (Path(folder) / "test_add.py").write_text(ADD + MIDST.format(holds=not stops, runs=trials // 2, marks=marks))
        suite.command += ["--reply-timeout", "2"]
        if way == "a full disk":
            suite.command[:0] = ["prlimit", f"--fsize={FILE_BYTES}"]
        begin = time.monotonic()
        process = suite.start(*arguments)
        end(process, api)
        process.communicate(timeout=300)
        seconds = time.monotonic() - begin
        journal = api.wait_until_idle()
        run = load_run(suite.run_dir)
    arrived = sum(seen.answered == "200" and seen.message is not None for seen in journal)
    doubtful = Counter(seen.answered for seen in journal if seen.answered in ("cut body", "client left"))
    guessed = sum(request.guessed_usd for record in run.paid for request in record.requests)
    counted = sum(record.known_cost_usd for record in run.paid) - guessed
    difference = counted - arrived * EACH
    return (
        f"{way:<14}{len(journal):>9}{arrived:>9}{arrived * EACH:>10.2f}{counted:>10.2f}{difference:>+9.2f}"
        f"{doubtful['cut body']:>6}{doubtful['client left']:>6}{guessed:>10.4f}{process.returncode:>6}{seconds:>7.1f} s"
    )


def main() -> None:
    """Play all ways and print what was paid and counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--only", default="", help="ways whose name holds this text")
    options = parser.parse_args()
    head = f"{'ended by':<14}{'requests':>9}{'replies':>9}{'paid':>10}{'counted':>10}{'differ':>9}{'cut':>6}{'late':>6}"
    print(f"{head}{'estimate':>10}{'exit':>6}{'':>7}   (dollars; target: they differ by less than 0.01)")
    for way in ways(options.trials):
        if options.only in way:
            print(play(way, trials=options.trials, seed=options.seed), flush=True)
    sys.exit(0)


if __name__ == "__main__":
    main()
