"""How large is a large run's report.html, and how long does it take to write, to show, and to open a conversation?

Run as `make bench-page`. Runs of 100, 1,000 and 3,000 trials of two tasks by two models, with conversations of 30 kB
each: prompts that a task's trials share, programs and outputs that none shares, all cut from the sources of Python's
standard library. Real Chromium loads each page from disk, beside an empty page in the same run, and the median of
several loads counts. `--beside DIR` writes the same runs with another version of the package too: a checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SIZES = (100, 1000, 3000)
TALK_CHARS = 30_000
LABELS = ("score below threshold", "no submission (turn limit)", "bad file")
SHOWN = {
    "first": "first view",
    "usable": "usable",
    "loaded": "loaded",
    "opened": "trial opened",
    "searched": "all searched",
}
EMPTY = "<!DOCTYPE html><html lang='en'><title>empty</title><p>empty"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, nargs="*", default=SIZES, help="how many, of each run")
    parser.add_argument("--loads", type=int, default=5, help="of each page")
    parser.add_argument("--beside", type=Path, help="a checkout of another version")
    parser.add_argument("--write", type=Path, help="only write such a run's page into this folder")
    options = parser.parse_args()
    if options.write:
        write(options.write, options.trials[0])
        return
    print("  page  trials  CPU        memory     size  " + "".join(f"{name:>13}" for name in SHOWN.values()))
    for trials in options.trials:
        for name, package in (("this", ROOT), ("beside", options.beside)):
            if package:
                with tempfile.TemporaryDirectory() as folder:
                    measure(name, package, trials, Path(folder), options.loads)


def measure(name: str, package: Path, trials: int, folder: Path, loads: int) -> None:
    """Print a line for a page, and one for an empty page beside it."""
    command = [sys.executable, str(Path(__file__)), "--write", str(folder), "--trials", str(trials)]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    told = json.loads(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    (folder / "empty.html").write_text(EMPTY)
    page = folder / "report.html"
    shown: dict[Path, list[dict[str, float]]] = {page: [], folder / "empty.html": []}
    for number in range(loads):
        for one, seen in shown.items():
            seen.append(view(one, folder / f"profile-{one.stem}-{number}"))
    for one, seen in shown.items():
        median = {key: statistics.median(each[key] for each in seen) for key in seen[0]}
        wrote = f"{told['seconds']:5.1f} s  {told['memory_mb']:4.0f} MB" if one == page else " " * 16
        print(
            f"{name if one == page else 'empty':>6} {trials:>7,}  {wrote}  {one.stat().st_size / 1e6:5.1f} MB  "
            + "".join(f"{median[key]:10.0f} ms" for key in SHOWN),
            flush=True,
        )


def view(page: Path, profile: Path) -> dict[str, float]:
    """Load a page in a browser of its own; return milliseconds from asking for it, and those that a trial takes."""
    from tests.support.browser import Browser

    browser = Browser(profile)
    try:
        browser.show(page.as_uri())
        times = browser.evaluate_later(TIMES)
        return {**times, "opened": browser.evaluate_later(OPEN) or 0, "searched": browser.evaluate_later(SEARCH) or 0}
    finally:
        browser.close()


TIMES = """(async () => {
  const mark = (name) => performance.getEntriesByName(name)[0]?.startTime;
  while (mark("first-contentful-paint") === undefined) await new Promise(requestAnimationFrame);
  const [load] = performance.getEntriesByType("navigation");
  const [first, usable] = [mark("first-contentful-paint"), mark("usable") ?? load.domInteractive];
  return {first, usable, loaded: load.loadEventEnd};
})()"""
OPEN = """(async () => {
  const links = document.querySelectorAll("table.trials a");
  if (!links.length) return 0;
  const start = performance.now();
  links[links.length >> 1].click();
  while (!document.querySelector("#reader .said")) await new Promise(requestAnimationFrame);
  return performance.now() - start;
})()"""
SEARCH = """(async () => {
  const field = document.getElementById("query");
  if (!field) return 0;
  const back = new Promise((resolve) => addEventListener("hashchange", resolve, {once: true}));
  history.back();
  await back;
  const start = performance.now();
  field.value = "zipfile";
  field.dispatchEvent(new Event("input"));
  while (!document.getElementById("found").textContent.includes("zipfile")) await new Promise(requestAnimationFrame);
  return performance.now() - start;
})()"""


def write(folder: Path, trials: int) -> None:
    """Write the reports of such a run, and print the seconds of CPU that took and how much memory it added."""
    from pytest_rltask.report.files import write_reports
    from pytest_rltask.report.summary import summarise

    run = such_a_run(folder, trials)
    summary = summarise(run, "point")
    start = time.process_time()
    write_reports(run, summary)
    seconds = time.process_time() - start
    tracemalloc.start()  # which makes it several times slower
    write_reports(run, summary)
    print(json.dumps({"seconds": seconds, "memory_mb": tracemalloc.get_traced_memory()[1] / 1e6}))


def such_a_run(folder: Path, trials: int) -> Any:
    """Return a run of two tasks by two models with so many trials in all."""
    from pytest_rltask.run.load import Run
    from pytest_rltask.run.planned import PlannedTrial
    from pytest_rltask.run.record import Record, RequestLog, Usage

    draw, texts = random.Random(1), pieces()
    plan, records = [], {}
    for task in ("sums", "words"):
        prompt = next(texts)[:4000]
        for model in ("claude-haiku-4-5-20251001", "claude-opus-5@effort=high"):
            test = f"benchmarks/{task}/test_{task}.py::test_{task}"
            for run in range(trials // 4):
                planned = PlannedTrial(
                    f"{test}[{model}-run-{run:02d}]", test, task, "d", model, run, 42 + run, (0.1, 0.4)
                )
                score = round(draw.betavariate(8, 2), 3)
                passed = score >= 0.875
                plan.append(planned)
                records[planned.trial_id] = Record(
                    planned.trial_id, task, "d", model, run, 42 + run, "passed" if passed else "failed",
                    label="" if passed else draw.choice(LABELS),
                    reason="" if passed else f"scored {score:g}, and 0.875 was asked for", score=score, threshold=0.875,
                    messages=list(talk(prompt, texts)), turns=5, tool_calls=5, seconds={"model": 9.5, "total": 12.25},
                    requests=[RequestLog("req", model, "end_turn", Usage(9000, 2000), 0.0123, 9.5)], stop="done",
                )  # fmt: skip
    header = {"schema": 1, "id": "f00d", "created": "2026-01-02T03:04:05+00:00", "command": "pytest benchmarks"}
    return Run(folder, header, plan, records)


def talk(prompt: str, texts: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield the messages of a conversation: five programs, and what they print."""
    yield {"role": "user", "content": [{"type": "text", "text": prompt}]}
    half = (TALK_CHARS - len(prompt)) // 10
    for turn in range(5):
        call = {"type": "tool_use", "id": f"{turn}", "name": "run", "input": {"program": next(texts)[:half]}}
        yield {"role": "assistant", "content": [{"type": "text", "text": "I try this."}, call]}
        result = json.dumps({"exit": 0, "output": next(texts)[:half]})
        yield {"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"{turn}", "content": result}]}


def pieces() -> Iterator[str]:
    """Yield texts of 4,000 characters from the standard library, none of which begins where another did."""
    files = sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py"))
    source = "".join(
        file.read_text(encoding="utf-8", errors="replace") for file in files if "site-packages" not in file.parts
    )
    for offset in range(1, 1 << 30):
        for start in range(offset * 977 % 4000, len(source) - 4000, 4000):
            yield source[start : start + 4000]


if __name__ == "__main__":
    main()
