"""Is what a judged run says player and judges cost what the server was paid for each, however the run ends?

Run as `make bench-judged`. Each way to end plays 50 trials, whose grader has three votes of a judge, against a scripted
Messages API; each kind of fault meets 5 % of the requests. `paid` is the sum of all replies that the server's journal
says arrived, by the model that was asked; `counted` is what the run directory says without estimates. The last way is a
limit on the cost, which player and judge share.
"""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

from pytest_rltask.run.load import load_run
from tests.bench.kills import Suite
from tests.judges.letters import JUDGE, JUDGE_EACH, PLAYER, PLAYER_EACH, answers, suite_of
from tests.support.messages_api import MessagesAPI, Reply, Step, cut_body, disconnect, raw, status

SHARE = 0.05
VOTES = 3
EACH = PLAYER_EACH + VOTES * JUDGE_EACH
WAYS = ("its own end", "Ctrl-C", "kill -9", "--max-cost")


class Server:
    """Plays and judges, and meets requests with faults."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._count = 0

    def __call__(self, body: dict[str, Any], turn: int) -> Step:
        """Return the answer to a request."""
        self._count += 1
        number, answer = self._rng.random() / SHARE, answers(body, turn)
        assert isinstance(answer, Reply)
        faults = (status(429), status(500), status(529), disconnect(), cut_body(answer), raw(200, "text/html", b"<h1>"))
        return faults[int(number)] if number < len(faults) and self._count > 1 else answer


def play(way: str, *, trials: int, seed: int) -> str:
    """Play a run that ends in a way, and return the line that tells of it."""
    with (
        tempfile.TemporaryDirectory(prefix="judged-") as folder,
        MessagesAPI(Server(seed), latency_s=0.02, allow_violations=True) as api,
        Suite(Path(folder), trials=trials, workers=0, api=api) as suite,
    ):
        (Path(folder) / "test_add.py").write_text(suite_of(more=f", votes={VOTES}"))
        limit = ("--max-cost", f"{trials / 2 * EACH}") if way == "--max-cost" else ()
        begin, process = time.monotonic(), suite.start(*limit)
        if way in ("Ctrl-C", "kill -9"):
            api.wait_for_requests(2 * trials, timeout_s=120)
            process.send_signal(signal.SIGINT if way == "Ctrl-C" else signal.SIGKILL)
        process.communicate(timeout=300)
        seconds, journal, run = time.monotonic() - begin, api.wait_until_idle(), load_run(suite.run_dir)
    paid, counted = {}, {}
    for model, each in ((PLAYER, PLAYER_EACH), (JUDGE, JUDGE_EACH)):
        arrived = [seen for seen in journal if seen.answered == "200" and seen.message and seen.body["model"] == model]
        paid[model] = len(arrived) * each
        requests = [
            one for record in run.paid for one in (record.judge_requests if model == JUDGE else record.requests)
        ]
        counted[model] = sum((one.cost_usd or 0.0) - one.guessed_usd for one in requests)
    guessed = sum(one.guessed_usd for record in run.paid for one in record.paid_requests)
    told = "".join(f"{paid[model]:>10.4f}{counted[model]:>10.4f}" for model in (PLAYER, JUDGE))
    differ = sum(counted.values()) - sum(paid.values())
    return f"{way:<13}{len(journal):>9}{told}{differ:>+10.4f}{guessed:>10.4f}{process.returncode:>6}{seconds:>7.1f} s"


def main() -> None:
    """Play all ways and print what was paid and counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument("--only", default="", help="ways whose name holds this text")
    options = parser.parse_args()
    print(f"{'':13}{'':>9}{'player':>10}{'':>10}{'judge':>10}   (dollars; a run of {options.trials} costs about "
          f"{options.trials * EACH:.2f})")  # fmt: skip
    head = ("requests", "paid", "counted", "paid", "counted", "differ", "estimate")
    print(f"{'ended by':<13}{head[0]:>9}" + "".join(f"{word:>10}" for word in head[1:]) + f"{'exit':>6}")
    for way in WAYS:
        if options.only in way:
            print(play(way, trials=options.trials, seed=options.seed), flush=True)


if __name__ == "__main__":
    main()
