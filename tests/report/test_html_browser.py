"""The HTML report as a browser shows it: no error, no request, no overflow, and fit for everybody's eyes and hands."""

from __future__ import annotations

import base64
import importlib.util
import subprocess
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest

from pytest_rltask.report.files import write_reports
from pytest_rltask.report.html_charts import score_plot
from pytest_rltask.report.summary import summarise
from pytest_rltask.run.load import Run
from tests.report.pages import HOSTILE, plan, record
from tests.support.browser import CHROMIUM, FLAGS, Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (Debian: apt-get install chromium)"),
]


@pytest.fixture
def page(mixed: Run) -> str:
    """The address of a page with every outcome, long words and hostile text."""
    nasty = plan("n" * 150, "claude-" + "m" * 150, 3)
    talk = [{"role": "user", "content": [{"type": "text", "text": text * 20} for text in [*HOSTILE, "w" * 500]]}]
    for trial in nasty:
        mixed.records[trial.trial_id] = record(trial, "failed", 0.5, label="l" * 200, reason="r" * 900, messages=talk)
    mixed.plan += nasty
    mixed.header["command"] += " " + "c" * 400
    write_reports(mixed, summarise(mixed, "point"))
    return (mixed.path / "report.html").as_uri()


REQUEST = "Network.requestWillBeSent"
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def views(page: str) -> list[str]:
    """Return the addresses of the list, of a plain trial, of one beside another, and of a hostile one."""
    plain = f"{page}#trial=test_sums.py%3A%3Atest_sums%5Bclaude-haiku-4-5-20251001-run-05%5D"
    name, model = "n" * 150, "claude-" + "m" * 150
    nasty = f"{page}#trial=test_{name}.py%3A%3Atest_{name}%5B{model}-run-00%5D&q=script"
    return [page, plain, f"{plain}&beside=sums+by+policy%3Asolver", nasty]


USABLE = "performance.getEntriesByName('usable').length"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 420, 720, 1280])
def test_it_renders_without_error_request_or_overflow(browser: Browser, page: str, width: int, dark: bool):
    for address in views(page):
        browser.show(address, width=width, dark=dark)
        browser.until(USABLE)
        browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")

        assert browser.evaluate(OVERFLOW) == 0
        assert browser.complaints() == []
        requested = [event["params"]["request"]["url"] for event in browser.events if event["method"] == REQUEST]
        assert requested == [page]
        assert len(base64.b64decode(browser.call("Page.captureScreenshot")["data"])) > 10_000


def test_its_own_policy_stops_scripts_styles_and_requests(browser: Browser, page: str):
    browser.show(page)
    browser.evaluate(
        """for (const markup of ['<img src="https://example.invalid/x.png">', '<p style="color:red" id="p">p</p>'])
               document.body.insertAdjacentHTML('beforeend', markup);
           const script = document.createElement('script'); script.text = 'window.ran = true';
           document.body.append(script);"""
    )

    assert browser.evaluate("window.ran === undefined")
    assert browser.evaluate("getComputedStyle(document.getElementById('p')).color") != "rgb(255, 0, 0)"
    assert browser.seen().count("Network.responseReceived") == 1
    blocked = [event["params"] for event in browser.events if event["method"] == "Network.loadingFailed"]
    assert [each["blockedReason"] for each in blocked] == ["csp"]


@pytest.mark.skipif(not importlib.util.find_spec("axe_core_python"), reason="axe-core-python is not installed")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [420, 1280])
def test_axe_finds_nothing(browser: Browser, page: str, width: int, dark: bool):
    axe = (files("axe_core_python") / "axe.min.js").read_text(encoding="utf-8")
    for address in views(page):
        browser.show(address, width=width, dark=dark)
        browser.until(USABLE)
        browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        browser.evaluate(axe)

        found = browser.evaluate_later("axe.run().then(({violations}) => violations.map(JSON.stringify))")
        assert found == []


@pytest.mark.parametrize(
    "scores",
    [[1.0] * 300, [0.5] * 150 + [0.51] * 150, [x / 40 for x in range(20) for _ in range(15)], [0.0] * 90 + [1.0] * 90],
    ids=["equal", "neighbours", "many stacks", "ends"],
)
@pytest.mark.parametrize("thresholds", [(0.875,), (0.5, 0.51, 0.52), (0.001, 0.002, 1.0)], ids=str)
def test_labels_of_a_plot_never_overlap(
    browser: Browser, tmp_path: Path, scores: list[float], thresholds: tuple[float, ...]
):
    trials = [
        record(trial, "failed", score, threshold=thresholds[trial.run % len(thresholds)])
        for trial, score in zip(plan("a", "m", 300), scores, strict=False)
    ]
    style = (files("pytest_rltask.report") / "html_style.css").read_text(encoding="utf-8")
    (tmp_path / "plot.html").write_text(f"<!DOCTYPE html><style>{style}</style>{score_plot(trials)}")

    browser.show((tmp_path / "plot.html").as_uri())

    boxes = browser.evaluate(
        "[...document.querySelectorAll('text')].map(each => each.getBBox())"
        ".map(({x, y, width, height}) => [x, y, width, height])"
    )
    assert len(boxes) > len(thresholds)
    overlapping = [
        (one, other)
        for index, one in enumerate(boxes)
        for other in boxes[:index]
        if all(one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2] for axis in (0, 1))
    ]
    assert overlapping == []


def test_twelve_models_with_long_names_have_a_line_each(browser: Browser, mixed: Run):
    mixed.plan, mixed.records = [], {}
    for number in range(12):
        trials = plan("word" * 10, f"claude-{'long-' * 12}{number}", 8)
        mixed.plan += trials
        mixed.records |= {trial.trial_id: record(trial, "failed", 0.5) for trial in trials}
    write_reports(mixed, summarise(mixed, "point"))

    for width in (420, 1280):
        browser.show((mixed.path / "report.html").as_uri(), width=width)
        lines = browser.evaluate(
            "[...document.querySelectorAll('.overview tbody tr')].map(each => each.getBoundingClientRect())"
            ".map(({top, bottom}) => [top, bottom])"
        )
        assert len(lines) == 12
        assert all(above[1] <= below[0] + 1 for above, below in pairwise(lines))
        assert browser.evaluate(OVERFLOW) == 0


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_has_contrast(browser: Browser, page: str, dark: bool):
    for address in views(page):
        browser.show(address, dark=dark)
        browser.until(USABLE)
        browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")

        assert browser.evaluate(CONTRAST) == []


# WCAG 2.2, 1.4.3: 4.5 to 1. Every element with text of its own against the nearest background that is not clear.
CONTRAST = """(() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => {
    const [r, g, b] = parts(colour).slice(0, 3).map(c => c / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const clear = colour => parts(colour)[3] === 0;
  const low = new Set();
  for (const each of document.body.querySelectorAll('*')) {
    if (![...each.childNodes].some(node => node.nodeType === 3 && node.data.trim())) continue;
    let behind = each;
    while (behind.parentElement && clear(getComputedStyle(behind).backgroundColor)) behind = behind.parentElement;
    const ink = each.closest('svg') ? getComputedStyle(each).fill : getComputedStyle(each).color;
    if (each.tagName === 'title') continue;
    const [a, b] = [light(ink), light(getComputedStyle(behind).backgroundColor)].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) low.add(each.tagName + '.' + each.className + ' ' + ink);
  }
  return [...low];
})()"""


def test_the_plain_command_line_renders_it_too(page: str, tmp_path: Path):
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]

    dump = subprocess.run(
        [*command, "--virtual-time-budget=5000", "--dump-dom", views(page)[1]],
        capture_output=True,
        timeout=120,
        check=True,
    )
    image = tmp_path / "page.png"
    subprocess.run([*command, f"--screenshot={image}", page], capture_output=True, timeout=120, check=True)

    assert "I write a program." in dump.stdout.decode()
    assert image.stat().st_size > 10_000
