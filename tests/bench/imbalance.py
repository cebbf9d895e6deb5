"""What does the machinery of the task imbalance gain over writing it straight away? CPU time and F1, side by side.

Run as `make bench-imbalance`. One scripted trial (start, smote, use_focal, train, sweep_thresholds, submit_answer,
grade) is played on the credit-card data in two ways, one thread each:

ours    the shipped episode, with the data parsed before, as in every trial but a machine's first.
plain   what one would write: pandas, scikit-learn, imbalanced-learn and a DataLoader (see `imbalance_plain.py`).

CPU time is that of this process: the best of three for ours, a single run for plain, whose length evens it out. F1 is
compared on the very same rows, seed by seed, also with plain's mini-batches made as large as ours: what then remains
is two implementations of one algorithm. Further: how far an epoch is from what this machine can multiply, how long
loading takes, and whether two trials at once disturb each other. Another load on the machine spoils that last one
first of all; the load average is shown.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from threadpoolctl import threadpool_limits
from torch.profiler import ProfilerActivity, profile

from benchmarks.imbalance import kaggle
from benchmarks.imbalance.data import credit_card
from benchmarks.imbalance.kaggle_download import FILE
from benchmarks.imbalance.learner import BATCHES_PER_EPOCH, CHUNK_ROWS, HIDDEN_UNITS, Examples, Learner
from benchmarks.imbalance.losses import Focal, Objective
from benchmarks.imbalance.resampling import Resampler, Smote
from benchmarks.imbalance.task import Imbalance
from tests.bench.imbalance_plain import BATCH_ROWS, PlainTrial, play, read_split, same_split
from tests.benchmarks.imbalance.fake_kaggle import creditcard_csv

SIZES = (50_000, None)  # sample_n
SEED = 1
OBJECTIVE = Objective(Focal(0.25, 2.0))

TRIAL_TARGET, EPOCH_TARGET, PAIR_TARGET = 10.0, 8.0, 1.8
LOAD_TARGET_MS = 50.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="how many F1 is compared on; it is not below 2")
    seeds = parser.parse_args().seeds
    use_one_thread()
    begin = time.monotonic()
    with data_folder() as origin:
        data = kaggle.load()
        print(f"Data: {origin}, {len(data.labels):,} rows, {data.labels.sum()} frauds, sha256 {data.csv_sha256[:12]}")
        print(f"Machine: {os.cpu_count()} cores, load average {load()} at the beginning", flush=True)
        report_speed()
        report_limit()
        report_loading()
        report_pairs()
        report_f1(seeds)
    print(f"\nTook {time.monotonic() - begin:.0f} s; load average {load()} at the end")


def use_one_thread() -> None:
    """Keep the arithmetic of this process, of every library, in one thread."""
    torch.set_num_threads(1)
    threadpool_limits(1)


@contextlib.contextmanager
def data_folder() -> Iterator[str]:
    """Use the file that there is, or else make one, and say which; a made one and its parsed copy are deleted."""
    if os.environ.get(kaggle.DATA_DIR_VARIABLE):
        yield f"the file in {kaggle.DATA_DIR_VARIABLE}"
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FILE).write_bytes(creditcard_csv(284_807, 492, 1081, seed=SEED))
        os.environ |= {kaggle.DATA_DIR_VARIABLE: folder, "XDG_CACHE_HOME": folder}
        yield f"A STAND-IN of the same size and difficulty ({kaggle.DATA_DIR_VARIABLE} takes the real file)"


# The trial


def play_ours(sample_n: int | None, seed: int) -> tuple[float, float]:
    """Play the shipped episode; return the F1 on the validation and on the test rows."""
    episode = Imbalance(source="kaggle", sample_n=sample_n).open(seed)
    episode.imbalance_start()
    episode.smote(0.5, 5)
    episode.use_focal(0.25, 2.0)
    episode.train(10)
    episode.sweep_thresholds()
    episode.submit_answer()
    grade = episode.grade()
    validation: Any = grade.metrics["validation_f1"]
    return validation, grade.score


def play_plain(sample_n: int | None, seed: int) -> None:
    """Play the plain trial on rows of its own."""
    csv = Path(os.environ[kaggle.DATA_DIR_VARIABLE]) / FILE
    play(PlainTrial(read_split(csv, sample_n, seed), seed))


def report_speed() -> None:
    """Compare the CPU time of a trial and of an epoch."""
    rows = []
    for sample_n in SIZES:
        ours = cpu_s(functools.partial(play_ours, sample_n, SEED), times=3)
        plain = cpu_s(functools.partial(play_plain, sample_n, SEED), times=1)
        epoch, plain_epoch, large = epoch_costs(sample_n)
        for what, one, other, target in (
            ("whole trial", plain, ours, TRIAL_TARGET),
            ("epoch after SMOTE", plain_epoch, epoch, EPOCH_TARGET),
            ("same, plain in ours' batches", large, epoch, None),
        ):
            rows.append([size(sample_n), what, duration(one), duration(other), *against(one / other, target)])
    heading("CPU time")
    show(["rows", "of", "plain", "ours", "ratio", "target", ""], rows)
    print(f"\nplain has batches of {BATCH_ROWS} rows, ours has {BATCHES_PER_EPOCH} per epoch over the original rows.")
    print("A trial: plain trains 5 + 5 + 5 + 10 epochs; ours does not train what is replaced before anybody looks.")


def epoch_costs(sample_n: int | None) -> tuple[float, float, float]:
    """Return the CPU seconds of an epoch after SMOTE of ours, of plain, and of plain in batches as large as ours."""
    learner, examples = ours_after_smote(sample_n)
    ours = cpu_s(functools.partial(learner.train, examples, OBJECTIVE, epochs=1, lr=0.001), times=3)
    data = credit_card(sample_n, SEED)
    plain = []
    for batch_rows, times in ((BATCH_ROWS, 1), (batch_rows_of_ours(data.train.rows), 3)):
        trial = PlainTrial(same_split(data), SEED, batch_rows)
        trial.use_focal(0.25, 2.0)
        trial.retrain()
        trial.smote(0.5, 5)
        plain.append(cpu_s(functools.partial(trial.train, 1), times))
    return ours, plain[0], plain[1]


def ours_after_smote(sample_n: int | None) -> tuple[Learner, Examples]:
    """Return a learner and the training set that SMOTE has made."""
    train = credit_card(sample_n, SEED).train
    resampler = Resampler(train.features, train.labels)
    examples = resampler.oversample(Smote(resampler.minority_after(0.5), 5, SEED))
    return Learner(train.features.shape[1], batch_rows=batch_rows_of_ours(train.rows), seed=SEED), examples


def batch_rows_of_ours(training_rows: int) -> int:
    """Return the size of a mini-batch of the shipped task."""
    return -(-training_rows // BATCHES_PER_EPOCH)


# F1


def report_f1(seeds: int) -> None:
    """Compare F1 on the same rows, seed by seed."""
    if seeds < 2:
        return
    begin = time.monotonic()
    rows, context = [], multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, initializer=use_one_thread) as pool:
        for sample_n in SIZES:
            found = list(pool.map(functools.partial(f1_of, sample_n), range(seeds)))
            for part, name in enumerate(("validation", "test")):
                plain, large, ours = ([way[part] for way in ways] for ways in zip(*found, strict=True))
                rows.append([size(sample_n), name, mean_sd(plain), mean_sd(ours), *difference(ours, plain, name)])
                of = f"{name}, plain in ours' batches"
                rows.append([size(sample_n), of, mean_sd(large), mean_sd(ours), *difference(ours, large, "")])
    heading(f"F1 over {seeds} seeds, the same rows for both (in {time.monotonic() - begin:.0f} s)")
    show(["rows", "of", "plain, mean ± sd", "ours, mean ± sd", "ours - plain, mean ± se", "target", ""], rows)
    print("\nThe validation F1 is that after the sweep, which is exact in ours and over 99 thresholds in plain.")


def f1_of(sample_n: int | None, seed: int) -> tuple[tuple[float, float], ...]:
    """Return the validation and the test F1 of plain, of plain in batches as large as ours, and of ours."""
    data = credit_card(sample_n, seed)
    batches = (BATCH_ROWS, batch_rows_of_ours(data.train.rows))
    plain = [play(PlainTrial(same_split(data), seed, rows), only_last=True) for rows in batches]
    return plain[0], plain[1], play_ours(sample_n, seed)


def difference(ours: Sequence[float], plain: Sequence[float], name: str) -> list[str]:
    """Return the mean difference with its standard error, and on validation rows whether it is as wanted."""
    pairs = [one - other for one, other in zip(ours, plain, strict=True)]
    mean, error = statistics.mean(pairs), statistics.stdev(pairs) / math.sqrt(len(pairs))
    return [f"{mean:+.4f} ± {error:.4f}", *([">= 0", verdict(mean >= 0)] if name == "validation" else ["", ""])]


# The limit of an epoch


def report_limit() -> None:
    """Compare an epoch with the arithmetic that it cannot do without."""
    d, h = kaggle.load().features.shape[1], HIDDEN_UNITS
    flop_of_row, rates = flop_of_a_row(d, h), measured_rates(d, h)
    limits, parts = [], []
    for sample_n in SIZES:
        learner, examples = ours_after_smote(sample_n)
        epoch = functools.partial(learner.train, examples, OBJECTIVE, epochs=1, lr=0.001)
        spent, trained_on = cpu_s(epoch, times=5), len(examples.signs)
        floors = [flop_of_row * trained_on / rate for rate in rates]
        above = [f"{duration(floor)}, ours {spent / floor:.1f}x" for floor in floors]
        gflop = f"{flop_of_row * trained_on / 1e9:.3f}"
        limits.append([size(sample_n), f"{trained_on:,}", gflop, duration(spent), *above])
        of_torch = [min(part) for part in zip(*(parts_of(epoch) for _ in range(8)), strict=True)]
        parts.append([size(sample_n), *map(duration, (*of_torch, max(spent - sum(of_torch), 0.0)))])
    heading("The limit of an epoch after SMOTE")
    show(["rows", "trained on", "GFLOP", "ours", "at its products' rate", "at the machine's peak"], limits)
    chunk, peak = (f"{rate / 1e9:.0f} GFLOP/s" for rate in rates)
    print(f"\nFLOP per row: forward 2dh + 2h, backward 2dh + 2h, elementwise 3h + d + 20: {flop_of_row}; d={d}, h={h}.")
    print(f"Its products, ({CHUNK_ROWS}, {d}) @ ({d}, {h}) and ({d}, {CHUNK_ROWS}) @ ({CHUNK_ROWS}, {h}): {chunk};")
    print(f"the peak, 1024^3: {peak}; float32, one thread. Where the time goes, by torch's profiler:\n")
    show(["rows", "gather", "products", "optimiser", "elementwise, copies", "order of rows, Python"], parts)


def flop_of_a_row(d: int, h: int) -> int:
    """Return the arithmetic of a training step for one row with d features and h hidden units."""
    elementwise = 3 * h + d + 20  # bias, relu, sign; features * slope; the loss's slope, each function counted as one
    return 2 * (2 * d * h + 2 * h) + elementwise


def measured_rates(d: int, h: int) -> tuple[float, float]:
    """Return the FLOP per second of the products that an epoch does with a chunk of rows, and of large square ones."""
    features, weights, hidden = torch.rand(CHUNK_ROWS, d), torch.rand(d, h), torch.rand(CHUNK_ROWS, h)
    to_hidden, to_weights = torch.empty_like(hidden), torch.empty_like(weights)

    def chunks() -> None:
        for _ in range(200):
            torch.mm(features, weights, out=to_hidden)
            torch.mm(features.t(), hidden, out=to_weights)

    large, to_large = torch.rand(1024, 1024), torch.empty(1024, 1024)
    chunk_s = cpu_s(chunks, times=10) / 200
    large_s = cpu_s(functools.partial(torch.mm, large, large, out=to_large), times=20)
    return 4 * CHUNK_ROWS * d * h / chunk_s, 2 * 1024**3 / large_s


def parts_of(epoch: Callable[[], Any]) -> list[float]:
    """Return the seconds of torch's operations: gathering rows, products, the optimiser, and all others."""
    kinds = {"index_select": 0, "addmm": 1, "mm": 1, "addmv": 1, "addmv_": 1, "lerp_": 2, "sqrt": 2, "addcdiv_": 2}
    parts = [0.0] * 4
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would tell stderr that it begins and ends
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        epoch()
    for operation in profiled.key_averages():
        parts[kinds.get(operation.key.removeprefix("aten::"), 3)] += operation.self_cpu_time_total / 1e6
    return parts


# Loading, and trials side by side


def report_loading() -> None:
    """Measure how long the parsed copy takes to load."""
    median = statistics.median(spans(kaggle.load, 5, time.perf_counter)) * 1000
    heading("Loading the parsed data again")
    print(f"{median:.2f} ms, median of 5 (target < {LOAD_TARGET_MS:g} ms: {verdict(median < LOAD_TARGET_MS)})")


def report_pairs() -> None:
    """Compare the trials per second of two processes with those of one."""
    rows, before = [], load()
    for what, function, times, target in (
        (size(50_000), functools.partial(play_ours, 50_000), 10, PAIR_TARGET),
        (size(None), functools.partial(play_ours, None), 4, PAIR_TARGET),
        ("(a loop)", spin, 4, None),
    ):
        alone, together, by_cpu = zip(*throughputs(function, times, repeats=3), strict=True)
        ratios = [both / one for one, both in zip(alone, together, strict=True)]
        medians = [f"{statistics.median(of):.2f}" for of in (alone, together, by_cpu, ratios)]
        rows.append([what, times, *medians, *against(max(ratios), target, digits=2)])
    heading(f"Two processes at once, each with one thread (load average {before} before, {load()} after)")
    show(["rows", "trials", "one, 1/s", "two, 1/s", "by CPU time", "median", "best of 3", "target", ""], rows)
    print("\nmedian, best: ratios of trials per second. The loop, of Python alone, shows what the machine grants two")
    print("processes beside its other load. By CPU time: the ratio if no process ever had to wait for a processor.")


def throughputs(function: Callable[[int], Any], times: int, repeats: int) -> list[tuple[float, float, float]]:
    """Return calls per second of one process alone and of two at once, in turns, and their ratio by CPU time."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    shared = (function, times, repeats, barrier, results)
    processes = [context.Process(target=player, args=(number, *shared), daemon=True) for number in range(2)]
    for process in processes:
        process.start()
    turns = dict(results.get(timeout=600) for _ in processes)
    for process in processes:
        process.join()
    found = []
    for alone, *both in zip(turns[0][::2], turns[0][1::2], turns[1], strict=True):
        together = max(turn.end for turn in both) - min(turn.begin for turn in both)
        by_cpu = 2 * alone.cpu_s / statistics.mean(turn.cpu_s for turn in both)
        found.append((times / (alone.end - alone.begin), 2 * times / together, by_cpu))
    return found


class Turn(NamedTuple):
    """Some calls in a row, on the clock that all processes share."""

    begin: float
    end: float
    cpu_s: float


def player(number: int, function: Callable[[int], Any], times: int, repeats: int, barrier: Any, results: Any) -> None:
    """Play in turns alone, if this is process 0, and together; hand in the turns in order."""
    use_one_thread()
    function(SEED)
    turns = []
    for turn in range(2 * repeats):
        barrier.wait()
        if turn % 2 or number == 0:
            begin, cpu_begin = time.monotonic(), time.process_time()
            for seed in range(times):
                function(seed)
            turns.append(Turn(begin, time.monotonic(), time.process_time() - cpu_begin))
    results.put((number, turns))


def spin(seed: int) -> None:
    """Keep a processor busy, without memory to speak of."""
    sum(range(10_000_000))


# Helpers


def cpu_s(function: Callable[[], Any], times: int) -> float:
    """Return the least CPU seconds of this process in some calls."""
    return min(spans(function, times, time.process_time))


def spans(function: Callable[[], Any], times: int, clock: Callable[[], float]) -> list[float]:
    """Return how long each of some calls takes by a clock."""
    spent = []
    for _ in range(times):
        begin = clock()
        function()
        spent.append(clock() - begin)
    return spent


def against(ratio: float, target: float | None, digits: int = 1) -> list[str]:
    """Return a ratio, the least that is wanted, and whether it is reached."""
    return [f"{ratio:.{digits}f}x", *(["", ""] if target is None else [f">= {target:g}x", verdict(ratio >= target)])]


def verdict(met: bool) -> str:
    """Return what to print beside a target."""
    return "met" if met else "NOT met"


def size(sample_n: int | None) -> str:
    """Return the name of a size."""
    return "all" if sample_n is None else f"{sample_n:,}"


def duration(spent: float) -> str:
    """Return a time as a person reads it."""
    return f"{spent:.2f} s" if spent >= 1 else f"{spent * 1000:.1f} ms"


def mean_sd(values: Sequence[float]) -> str:
    """Return mean and standard deviation."""
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


def load() -> str:
    """Return the load average of the last minute."""
    return f"{os.getloadavg()[0]:.2f}"


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n## {text}\n")


def show(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print an aligned table in Markdown."""
    table = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    table.insert(1, ["-" * width for width in widths])
    for row in table:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
