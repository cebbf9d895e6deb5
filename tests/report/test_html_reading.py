"""The HTML report in use: trials are found, opened, linked to and put side by side, by mouse and by keyboard."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from urllib.parse import quote

import pytest

from pytest_rltask.report.files import write_page, write_reports
from pytest_rltask.report.html import pieces
from pytest_rltask.report.summary import summarise
from pytest_rltask.run.load import Run
from tests.report.pages import HOSTILE, plan, record
from tests.support.browser import CHROMIUM, Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (Debian: apt-get install chromium)"),
]

CLAUDE = "test_sums.py::test_sums[claude-haiku-4-5-20251001-run-{:02d}]"
USABLE = "performance.getEntriesByName('usable').length"
READING = "document.querySelector('#reader .said')"
LISTED = "document.getElementById('reader').hidden"
SHOWN = "[...document.querySelectorAll('table.trials tbody tr')].filter(each => !each.hidden)"
FOUND = "document.getElementById('found').textContent"


@pytest.fixture
def page(mixed: Run) -> str:
    """The address of a page with every outcome."""
    write_reports(mixed, summarise(mixed, "point"))
    return (mixed.path / "report.html").as_uri()


def link(page: str, trial_id: str, **more: str) -> str:
    return (
        page + "#" + "&".join(f"{name}={quote(value, safe='')}" for name, value in {"trial": trial_id, **more}.items())
    )


def opened(browser: Browser, address: str) -> str:
    """Show a trial and return all that is read."""
    browser.show(address)
    browser.until(f"{USABLE} && {READING}")
    return str(browser.evaluate("document.getElementById('reader').innerText"))


def choose(browser: Browser, field: str, value: str) -> None:
    browser.evaluate(
        f"{{ const field = document.getElementById({json.dumps(field)}); field.value = {json.dumps(value)};"
        "field.dispatchEvent(new Event(field.matches('input') ? 'input' : 'change')); }"
    )


def test_a_link_to_a_trial_survives_loading_the_page_again(browser: Browser, page: str):
    browser.show(page)
    browser.until(USABLE)

    browser.evaluate("document.querySelector('.strip a[aria-label^=\"run-05, missed\"]').click()")
    browser.until(READING)
    address = browser.evaluate("location.href")
    browser.reload()
    browser.until(f"{USABLE} && {READING}")

    assert address == link(page, CLAUDE.format(5))
    assert browser.evaluate("document.querySelector('h1#reading').textContent") == (
        "run-05 of sums by claude-haiku-4-5-20251001: missed, score 0.55"
    )
    assert "I write a program." in browser.evaluate("document.getElementById('reader').innerText")


def test_going_back_leads_to_where_the_list_was_left(browser: Browser, page: str):
    browser.show(page)
    browser.until(USABLE)
    row = f"document.getElementById('trial={CLAUDE.format(9)}')"
    browser.evaluate(f"{row}.scrollIntoView(); {row}.querySelector('a').click()")
    browser.until(READING)

    browser.evaluate("history.back()")
    browser.until(LISTED)

    assert abs(browser.evaluate(f"{row}.getBoundingClientRect().top")) < 900
    browser.until(f"{row}.contains(document.activeElement)")


@pytest.mark.parametrize("width", [420, 1280])
def test_trials_are_filtered_by_outcome_and_label(browser: Browser, page: str, width: int):
    browser.show(page, width=width)
    browser.until(USABLE)

    choose(browser, "by-outcome", "missed")
    browser.until(f"{FOUND} === '13 of 45 trials'")
    browser.reload()
    browser.until(f"{USABLE} && {FOUND} === '13 of 45 trials'")
    assert browser.evaluate(f"{SHOWN}.every(each => each.dataset.outcome === 'missed')")
    assert browser.evaluate("document.getElementById('by-outcome').value") == "missed"
    visible = "[...document.querySelectorAll('table.trials tbody tr')].filter(each => each.offsetHeight).length"
    assert browser.evaluate(visible) == 13

    choose(browser, "by-outcome", "")
    choose(browser, "by-label", "score below threshold")
    browser.until(f"{FOUND} === '20 of 45 trials'")


def test_a_counted_reason_leads_to_its_trials(browser: Browser, page: str):
    browser.show(page)
    browser.until(USABLE)

    browser.evaluate("document.querySelector('.counted.cheated button').click()")

    browser.until(f"{FOUND} === '1 of 45 trials'")
    assert browser.evaluate("document.activeElement.id") == "trials"


def test_conversations_are_searched_and_what_is_found_is_marked(browser: Browser, mixed: Run):
    told = mixed.records[CLAUDE.format(7)]
    told.messages[1]["content"][0]["thinking"] = "What of *.needle [x]? A NEEDLE"
    write_reports(mixed, summarise(mixed, "point"))
    browser.show((mixed.path / "report.html").as_uri())
    browser.until(USABLE)

    choose(browser, "query", "Needle")
    browser.until(f"{FOUND} === '1 of 45 trials, 2 matches of \u201cNeedle\u201d'")
    choose(browser, "query", "*.needle [x")
    browser.until(f"{FOUND} === '1 of 45 trials, 1 match of \u201c*.needle [x\u201d'")
    browser.evaluate(f"{SHOWN}[0].querySelector('a').click()")
    browser.until(READING)
    browser.evaluate("document.getElementById('match').click()")

    assert browser.evaluate("document.querySelector('#reader mark.current').textContent") == "*.needle [x"
    assert browser.evaluate("document.querySelector('#reader mark').closest('details').open")


def test_trials_are_sorted_by_a_column(browser: Browser, page: str):
    browser.show(page)
    browser.until(USABLE)
    head = "document.querySelector('table.trials th[data-key=score]')"
    scores = f"{SHOWN}.map(each => each.dataset.score ?? '')"

    browser.evaluate(f"{head}.querySelector('button').click()")
    rising = browser.evaluate(scores)
    browser.evaluate(f"{head}.querySelector('button').click()")
    falling = browser.evaluate(scores)

    numbers = [float(score) for score in rising if score]
    assert numbers == sorted(numbers)
    assert falling[: len(numbers)] == rising[: len(numbers)][::-1]
    assert rising[len(numbers) :] == falling[len(numbers) :] == [""] * 7
    assert browser.evaluate(f"{head}.getAttribute('aria-sort')") == "descending"
    assert browser.evaluate("location.hash") == "#sort=-score"


def test_the_keyboard_alone_sorts_opens_and_returns(browser: Browser, page: str):
    browser.show(page)
    browser.until(USABLE)

    browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.className") == "skip"
    browser.press("Enter", 13, "\r")
    browser.until("document.activeElement.id === 'trials'")
    for _ in range(5 + 7 + 1):  # the fields, the heads of the columns, and then the first trial
        browser.press("Tab", 9)
    first = "document.querySelector('table.trials tbody a')"
    browser.until(f"document.activeElement === {first}")
    browser.press("Enter", 13, "\r")
    browser.until(f"{READING} && document.activeElement.id === 'reading'")
    browser.press("Escape", 27)
    browser.until(f"{LISTED} && document.activeElement === {first}")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_stays_text(browser: Browser, mixed: Run, hostile: str):
    for one in mixed.records.values():
        said = {"type": "text", "text": hostile}
        vars(one).update(
            messages=[{"role": "user", "content": [said]}], label=hostile, reason=hostile, info={hostile: hostile}
        )
    write_reports(mixed, summarise(mixed, "point"))
    page = (mixed.path / "report.html").as_uri()

    shown = opened(browser, link(page, CLAUDE.format(5), beside="sums by policy:solver", q="alert"))

    assert browser.complaints() == []
    assert (
        browser.evaluate("document.querySelectorAll('#reader img, #reader script, #reader style, #reader b').length")
        == 0
    )
    assert browser.evaluate("document.querySelectorAll('body > script:not([type])').length") == 1
    if hostile.isascii() and hostile.isprintable():
        assert hostile in shown


def test_a_long_text_is_shown_whole_when_asked_for(browser: Browser, mixed: Run):
    text = "a" * 30_000 + "the end"
    mixed.records[CLAUDE.format(5)].messages[0]["content"][0]["text"] = text
    write_reports(mixed, summarise(mixed, "point"))
    page = (mixed.path / "report.html").as_uri()

    shown = opened(browser, link(page, CLAUDE.format(5)))
    browser.evaluate("document.querySelector('.rest').click()")

    assert "show the other 20,007 characters" in shown
    assert text in browser.evaluate("document.getElementById('reader').textContent")


def test_a_trial_without_room_for_its_conversation_names_its_transcript(browser: Browser, mixed: Run):
    write_page(mixed, pieces(mixed, summarise(mixed, "point"), most_chars=0))
    page = (mixed.path / "report.html").as_uri()

    browser.show(link(page, CLAUDE.format(5)))
    browser.until("document.querySelector('#reader .bad')")

    assert browser.evaluate("document.querySelector('#reader .bad').textContent") == (
        "This page has no room for its conversation: read transcripts/sums-claude-haiku-4-5-20251001-run-05.txt, "
        "beside this page."
    )


def test_two_models_of_a_task_stand_side_by_side(browser: Browser, page: str):
    opened(browser, link(page, CLAUDE.format(5)))

    choose(browser, "beside", "sums by policy:solver")
    browser.until("document.querySelectorAll('#reader article').length === 2")
    browser.evaluate(
        "[...document.querySelectorAll('#reader nav a')].find(each => each.textContent === 'next').click()"
    )
    browser.until("document.querySelector('h1#reading').textContent.startsWith('run-06')")

    titles = browser.evaluate("[...document.querySelectorAll('#reader article h2')].map(each => each.textContent)")
    assert titles == [
        "run-06 of sums by claude-haiku-4-5-20251001: missed, 0.56",
        "run-06 of sums by policy:solver: passed, 0.906",
    ]


def test_another_parameter_of_a_test_is_no_other_model(browser: Browser, mixed: Run):
    mixed.plan, mixed.records = [], {}
    for inside, model in (("easy", "m1"), ("hard", "m1"), ("hard", "m2")):
        (trial,) = plan("sums", model, 1)
        test, name = f"{trial.test}[{inside}]", f"{trial.test}[{model}-run-00-{inside}]"
        mixed.plan.append(dataclasses.replace(trial, test=test, trial_id=name))
        mixed.records[name] = record(mixed.plan[-1], "failed", 0.5)
    write_reports(mixed, summarise(mixed, "point"))
    page = (mixed.path / "report.html").as_uri()

    opened(browser, link(page, mixed.plan[1].trial_id))

    options = browser.evaluate("[...document.querySelectorAll('#beside option')].map(each => each.value)")
    assert options == ["", "sums[hard] by m2"]


def test_two_runs_stand_side_by_side(browser: Browser, mixed: Run, page: str, tmp_path: Path):
    other = Run(tmp_path / "run_<b>other", mixed.header, mixed.plan[:20], {})
    other.records = {trial.trial_id: record(trial, "passed", 0.9) for trial in other.plan}
    other.path.mkdir(parents=True)
    write_reports(other, summarise(other, "point"))
    browser.show(page)
    browser.until(USABLE)

    field = browser.call("Runtime.evaluate", expression="document.getElementById('other')")["result"]["objectId"]
    browser.call("DOM.setFileInputFiles", files=[str(other.path / "report.html")], objectId=field)
    browser.until("document.getElementById('by-versus')")
    choose(browser, "by-versus", "passed there only")
    browser.until(f"{FOUND} === '16 of 45 trials'")
    browser.evaluate(f"{SHOWN}[1].querySelector('a').click()")
    browser.until(READING)
    choose(browser, "beside", "other")
    browser.until("document.querySelectorAll('#reader article').length === 2")

    titles = browser.evaluate("[...document.querySelectorAll('#reader article h2')].map(each => each.textContent)")
    assert titles == [
        "run-05 of sums by claude-haiku-4-5-20251001: missed, 0.55",
        "run-05 of sums by claude-haiku-4-5-20251001 in run_<b>other: passed, 0.9",
    ]
    assert browser.complaints() == []


def test_without_javascript_the_tables_are_read_and_links_lead_to_transcripts(browser: Browser, page: str):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.show(page)
        text = str(browser.evaluate("document.body.innerText"))
        links = browser.evaluate(
            "[...document.querySelectorAll('table.trials a')].map(each => each.getAttribute('href'))"
        )
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)

    assert "Without JavaScript the tables can be read, but not sorted, filtered or searched" in text
    assert text.count("failed by run") == 13
    assert "Search conversations" not in text
    assert len(links) == 44
    assert all(href.startswith("transcripts/") for href in links)


def test_a_page_is_printed_without_its_controls(browser: Browser, page: str):
    for address in (page, link(page, CLAUDE.format(5))):
        browser.show(address, width=760)  # of A4, about
        browser.until(USABLE)
        browser.call("Emulation.setEmulatedMedia", media="print")
        overflow = browser.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        hidden = browser.evaluate(
            "[...document.querySelectorAll('#controls, #found, .skip, #reader nav')]"
            ".every(each => getComputedStyle(each).display === 'none')"
        )
        paper = browser.call("Page.printToPDF")["data"]
        browser.call("Emulation.setEmulatedMedia", media="")

        assert hidden
        assert overflow == 0
        assert len(paper) > 10_000
    assert browser.evaluate("document.querySelector('#reader details').open"), "what is folded is printed too"


def test_a_page_of_a_run_that_goes_on_loads_itself_again_and_keeps_the_place(browser: Browser, mixed: Run):
    whole = dict(mixed.records)
    for number in range(10, 20):
        mixed.records.pop(CLAUDE.format(number), None)
    mixed.starts = {CLAUDE.format(10): ["2026-01-02T03:04:06+00:00"]}
    write_page(mixed, pieces(mixed, summarise(mixed, "point"), refresh_s=1))
    page = (mixed.path / "report.html").as_uri()
    browser.show(page + "#sort=-trial")
    browser.until(f"{USABLE} && {FOUND} === '45 trials'")
    headline = browser.evaluate("document.querySelector('h1').textContent")
    row = f"document.getElementById('trial={CLAUDE.format(8)}')"
    browser.evaluate(f"{row}.scrollIntoView(); {row}.querySelector('a').focus(); scrollBy(0, -40)")
    before = browser.evaluate(f"{row}.getBoundingClientRect().top")

    mixed.records = whole
    browser.events.clear()
    write_reports(mixed, summarise(mixed, "point"))
    browser.wait("Page.loadEventFired")
    browser.until(USABLE)

    assert headline == "The run goes on: 35 of 45 trials have ended"
    assert abs(browser.evaluate(f"{row}.getBoundingClientRect().top") - before) <= 2
    assert browser.evaluate(f"document.activeElement === {row}.querySelector('a')")
    assert browser.evaluate("document.querySelector('h1').textContent").startswith("The gate fails")
    assert browser.evaluate("document.body.dataset.refresh") is None
    assert browser.evaluate("document.querySelector('.trials th[aria-sort]').dataset.key") == "trial"
    assert browser.complaints() == []
