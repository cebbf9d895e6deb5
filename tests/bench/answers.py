"""``make bench-answers``: do the answers of ``rltask compare`` and ``rltask calibrate`` keep what they promise?

By simulation: how often `compare` calls two equal runs different, and how often the true pass rate at a threshold that
`calibrate` chooses lies in the band, beside the chance that it claims. And beside scipy, statsmodels: the same numbers?
On recorded trials: `--recorded RUN_DIR...` has the first ones choose a threshold and counts which later ones reach it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import NormalDist

from pytest_rltask.analysis.compare import LEVEL, compare
from pytest_rltask.analysis.order import chance_of_rank, cuts
from pytest_rltask.analysis.paired import Pairs, fisher_p, mcnemar_p, paired_interval, unpaired_interval
from pytest_rltask.proof import at_least
from pytest_rltask.report.table import aligned
from pytest_rltask.run.load import Run, load_run
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Record
from pytest_rltask.task import Band

Sampler = Callable[[random.Random], float]
"""Draws a score."""
TailOf = Callable[[float], float]
"""The true share of scores that reach a threshold."""


def simulated(rng: random.Random, first_seed: int, rates: list[float], tasks: int) -> Run:
    """Make a run of several tasks, of which trial i passes with rate i."""
    run = Run(Path("simulated"), {"command": "pytest"}, [])
    for task in range(tasks):
        for index, rate in enumerate(rates):
            planned = PlannedTrial(
                f"t{task}[{index}]", f"t{task}", f"t{task}", "d", "m", index, first_seed + index, (0.1, 0.4)
            )
            outcome = "passed" if rng.random() < rate else "failed"
            run.plan.append(planned)
            run.records[planned.trial_id] = Record(
                planned.trial_id, planned.task, "d", "m", index, planned.seed, outcome, score=float(outcome == "passed")
            )
    return run


def false_alarms(pairs: int, rng: random.Random) -> Iterator[tuple[str, ...]]:
    """Yield how often equal runs are told apart: paired, where the seeds differ in difficulty and not; unpaired."""
    yield ("equal runs", "trials", "tasks", "called different", "worse")
    for name, spread, shift in (("paired", 0.0, 0), ("paired, hard and easy seeds", 0.25, 0), ("unpaired", 0.0, 9000)):
        for runs, tasks in ((20, 1), (50, 1), (20, 10)):
            rates = [rng.choice((0.3 - spread, 0.3 + spread)) for _ in range(runs)]
            words = []
            for _ in range(pairs):
                found = compare(simulated(rng, 0, rates, tasks), simulated(rng, shift, rates, tasks))
                assert all((row.pairs is None) == bool(shift) for row in found.rows)
                words.append({row.word for row in found.rows})
            different = sum(bool(word & {"worse", "better"}) for word in words) / pairs
            worse = sum("worse" in word for word in words) / pairs
            yield name, str(runs), str(tasks), f"{different:.1%}", f"{worse:.1%}"
            if at_least(round(different * pairs), pairs, LEVEL) < 0.001:  # chance alone would hardly do that
                raise SystemExit(f"{name}: {different:.1%} of equal runs are called different")


SHAPES: dict[str, tuple[Sampler, TailOf]] = {
    "normal": (lambda rng: rng.gauss(0.8, 0.05), lambda tau: 1 - NormalDist(0.8, 0.05).cdf(tau)),
    "uniform": (lambda rng: rng.random(), lambda tau: 1 - tau),
    "two heaps": (
        lambda rng: rng.gauss(0.2 if rng.random() < 0.6 else 0.9, 0.03),
        lambda tau: 0.6 * (1 - NormalDist(0.2, 0.03).cdf(tau)) + 0.4 * (1 - NormalDist(0.9, 0.03).cdf(tau)),
    ),
    "40 % fail with 0": (
        lambda rng: 0.0 if rng.random() < 0.4 else rng.random(),
        lambda tau: 0.6 * (1 - tau) if tau > 0 else 1.0,
    ),
    "accuracy of 1000 rows": (
        lambda rng: round(rng.gauss(0.85, 0.03), 3),
        lambda tau: 1 - NormalDist(0.85, 0.03).cdf(tau - 0.0005),
    ),
}


def claims(repetitions: int, rng: random.Random) -> Iterator[tuple[str, ...]]:
    """Yield the chance that is claimed of thresholds, and how often the true rate at them lies in the band."""
    band = Band()
    yield ("scores", "of", "claimed", "true", "no proposal")
    for name, (draw, tail) in SHAPES.items():
        for trials in (10, 20, 50):
            held = claimed = proposed = 0.0
            for _ in range(repetitions):
                found = [cut for cut in cuts([draw(rng) for _ in range(trials)], band) if not cut.ties]
                if found:
                    proposed += 1
                    claimed += found[0].chance
                    held += tail(found[0].threshold) in band
            told = f"{claimed / proposed:.3f}", f"{held / proposed:.3f}"
            yield name, str(trials), *told, f"{1 - proposed / repetitions:.1%}"


def beside_others() -> Iterator[tuple[str, ...]]:
    """Yield the largest differences from scipy, and from statsmodels where it is installed, over many tables."""
    from scipy import stats

    rng = random.Random(1)
    tables = [Pairs(*(rng.randrange(40) for _ in range(4))) for _ in range(300)]
    tables = [one for one in tables if one.total]
    yield ("number", "beside", "largest difference")
    differences = [
        abs(mcnemar_p(one) - stats.binomtest(one.only_a, one.only_a + one.only_b).pvalue)
        for one in tables
        if one.only_a + one.only_b
    ]
    yield "McNemar's p", "scipy", f"{max(differences):.1e}"
    counts = [((one.both, one.only_b), (one.both + one.only_a + 1, one.only_b + one.none + 1)) for one in tables]
    differences = [
        abs(
            fisher_p(passed, judged)
            - stats.fisher_exact([[k, n - k] for k, n in zip(passed, judged, strict=True)]).pvalue
        )
        for passed, judged in counts
    ]
    yield "Fisher's p", "scipy", f"{max(differences):.1e}"
    differences = [
        abs(chance_of_rank(m, n, Band()) - float(stats.beta.cdf(0.4, m, n + 1 - m) - stats.beta.cdf(0.1, m, n + 1 - m)))
        for n in (10, 20, 50, 200)
        for m in range(1, n + 1)
    ]
    yield "chance of a rank", "scipy", f"{max(differences):.1e}"
    try:
        from statsmodels.stats import contingency_tables, proportion
    except ImportError:
        yield "McNemar, Newcombe", "statsmodels", "not installed here"
        return
    differences = [
        abs(mcnemar_p(p) - contingency_tables.mcnemar([[p.both, p.only_a], [p.only_b, p.none]], exact=True).pvalue)
        for p in tables
    ]
    yield "McNemar's p", "statsmodels", f"{max(differences):.1e}"
    differences = []
    for (a, b), (m, n) in counts:
        theirs = proportion.confint_proportions_2indep(b, n, a, m, method="newcomb", compare="diff")
        differences += [abs(x - y) for x, y in zip(unpaired_interval((a, b), (m, n)), theirs, strict=True)]
    yield "Newcombe's interval", "statsmodels", f"{max(differences):.1e}"


def coverage(repetitions: int, rng: random.Random) -> Iterator[tuple[str, ...]]:
    """Yield how often the intervals hold the true difference."""
    yield ("interval at 95 %", "trials", "rates", "holds the difference")
    for runs in (10, 20, 50):
        for low, high in ((0.1, 0.1), (0.25, 0.25), (0.4, 0.1)):
            shared = math.sqrt(high / 2)  # the mean of two uniform numbers is below x with a chance of 2 x ** 2
            paired = unpaired = 0
            for _ in range(repetitions):
                pairs = [0, 0, 0, 0]
                ended = [((draw := rng.random()) < low, (draw + rng.random()) / 2 < shared) for _ in range(runs)]
                for one, other in ended:
                    pairs[(not one) * 2 + (not other)] += 1
                interval = paired_interval(Pairs(*pairs))
                paired += interval[0] <= high - low <= interval[1]
                counts = (sum(rng.random() < low for _ in range(runs)), sum(rng.random() < high for _ in range(runs)))
                interval = unpaired_interval(counts, (runs, runs))
                unpaired += interval[0] <= high - low <= interval[1]
            for name, held in (("paired", paired), ("unpaired", unpaired)):
                yield name, str(runs), f"{low:g}, {high:g}", f"{held / repetitions:.1%}"


def recorded(run_dirs: list[Path], chosen_by: int, judged_by: int) -> Iterator[tuple[str, ...]]:
    """Yield thresholds that the first trials of each stretch of a run choose, and how many of the next ones pass."""
    yield ("run", "seeds", "threshold", "claimed", "then pass", "in the band")
    for path in run_dirs:
        run = load_run(path)
        records = iter([run.records[one.trial_id] for one in run.plan if one.trial_id in run.records])
        records = (one for one in list(records) if one.outcome != "errored")
        while len(first := list(islice(records, chosen_by))) == chosen_by:
            found = [cut for cut in cuts([one.score for one in first], Band()) if not cut.ties]
            fresh = list(islice(records, judged_by))
            if not found or len(fresh) < judged_by:
                break
            passing = sum(one.score is not None and one.score >= found[0].threshold for one in fresh)
            is_in = passing / judged_by in Band()
            seeds = f"{first[0].seed}-{fresh[-1].seed}"
            told = f"{found[0].threshold:.4g}", f"{found[0].chance:.2f}", f"{passing}/{judged_by}"
            yield path.name, seeds, *told, "yes" if is_in else "no"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1000, help="simulated pairs of equal runs (%(default)s)")
    parser.add_argument("--repetitions", type=int, default=10_000, help="of each calibration (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recorded", type=Path, nargs="*", default=[], metavar="RUN_DIR")
    parser.add_argument("--chosen-by", type=int, default=20)
    parser.add_argument("--judged-by", type=int, default=50)
    parser.add_argument("--json", type=Path, help="file to write the tables to as well")
    options = parser.parse_args()
    tables = {}
    if options.recorded:
        tables["recorded"] = list(recorded(options.recorded, options.chosen_by, options.judged_by))
    else:
        tables["beside others"] = list(beside_others())
        tables["coverage"] = list(coverage(options.pairs, random.Random(options.seed)))
        tables["false alarms"] = list(false_alarms(options.pairs, random.Random(options.seed)))
        tables["claims"] = list(claims(options.repetitions, random.Random(options.seed)))
    for name, table in tables.items():
        print(f"\n{name}")
        print("\n".join(aligned(table, {*table[0]} - {"trials", "of", "tasks"})))
    if options.json:
        options.json.write_text(json.dumps(tables, indent=1))


if __name__ == "__main__":
    main()
