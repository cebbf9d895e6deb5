"""The HTML report as a browser shows it: no error, no request, no overflow, and usable from the keyboard alone.

Drives headless Chromium through its DevTools pipe (file descriptors 3 and 4, JSON messages ended by a null byte),
which needs nothing but the standard library.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.report.files import write_reports
from pytest_rltask.report.summary import summarise
from pytest_rltask.run.load import Run
from tests.report.pages import HOSTILE, plan, record

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
PATIENCE_S = 60

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (Debian: apt-get install chromium)"),
]


class Browser:
    """A page of a headless browser, and what happened in it."""

    def __init__(self, profile: Path) -> None:
        from_browser, its_output = os.pipe()
        its_input, to_browser = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (its_input, its_output)]  # clear of 3 and 4

        def inherit() -> None:
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"],
            preexec_fn=inherit,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (its_input, its_output, *high):
            os.close(end)
        self._in, self._out, self._buffer = from_browser, to_browser, b""
        self._id, self._session = 0, ""
        self.events: list[dict[str, Any]] = []
        page = next(target for target in self.call("Target.getTargets")["targetInfos"] if target["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._id += 1
        message = {"id": self._id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._id:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def show(self, url: str, *, width: int = 1280, dark: bool = False) -> None:
        """Load a page at a width of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        for address in ("about:blank", url):  # a mere change of the fragment would load nothing
            self.events.clear()
            self.call("Page.navigate", url=address)
            while "Page.loadEventFired" not in self.seen():
                self.events.append(self._read())

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key."""
        held = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **held)
        self.call("Input.dispatchKeyEvent", type="keyUp", **held)

    def seen(self) -> list[str]:
        """Return the names of what happened since the page was asked for."""
        return [event["method"] for event in self.events]

    def close(self) -> None:
        """End the browser."""
        with contextlib.suppress(OSError, AssertionError):
            self.call("Browser.close")
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self._in)
        os.close(self._out)

    def _read(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._in, 1 << 16) if ready else b""
            assert data, "the browser does not answer"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        decoded: dict[str, Any] = json.loads(message)
        return decoded


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser, shared by the tests of this file."""
    started = Browser(tmp_path_factory.mktemp("chromium"))
    yield started
    started.close()


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


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 720, 1280])
def test_it_renders_without_error_request_or_overflow(browser: Browser, page: str, width: int, dark: bool):
    browser.show(page, width=width, dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")

    assert browser.evaluate(OVERFLOW) == 0
    assert browser.evaluate("document.querySelectorAll('section').length") == 4
    assert not {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"} & set(browser.seen())
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


def test_a_square_leads_to_its_trial_unfolded(browser: Browser, page: str):
    browser.show(page)
    browser.evaluate("document.querySelector('.trials').open = false")

    browser.evaluate("document.querySelector('.strip a').click()")

    assert browser.evaluate("document.querySelector('.trials').open && document.querySelector('.trial').open")
    assert 0 <= browser.evaluate("document.querySelector('.trial').getBoundingClientRect().top") < 900


def test_the_keyboard_reaches_and_unfolds_everything(browser: Browser, page: str):
    browser.show(page)

    browser.evaluate("document.querySelector('.strip a').focus()")
    browser.press("Tab", 9)
    tip = browser.evaluate("getComputedStyle(document.activeElement, '::after').content")
    browser.evaluate("document.querySelector('.trial summary').focus()")
    browser.press("Enter", 13, "\r")

    assert "run-01, errored" in tip
    assert browser.evaluate("document.querySelector('.trial').open")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_has_contrast(browser: Browser, page: str, dark: bool):
    browser.show(page, dark=dark)
    browser.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")

    low = browser.evaluate(CONTRAST)

    assert low == []


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

    dump = subprocess.run([*command, "--dump-dom", page + "#t-0-1"], capture_output=True, timeout=120, check=True)
    image = tmp_path / "page.png"
    subprocess.run([*command, f"--screenshot={image}", page], capture_output=True, timeout=120, check=True)

    assert dump.stdout.decode().count('class="trial" open=""') == 1
    assert image.stat().st_size > 10_000
