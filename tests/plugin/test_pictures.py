"""A task that shows pictures, from its tool to the API and to all that is kept of it."""

from __future__ import annotations

import base64
import json
import zlib

import pytest

from pytest_rltask.models import limiter
from tests.conftest import Suite
from tests.media.pictures import PDF, png
from tests.support.messages_api import reply, status, tool_use
from tests.support.serving import MODEL, Serve

SEES = """
from tasks import *
from pytest_rltask import Image, Pdf
PNG, PDF = {png!r}, {pdf!r}

class Seeing(SumEpisode):
    prompt = ["Which number?", Image(PNG, "before.png")]
    @tool
    def look(self, what: str = "") -> list[str | Image]:
        "Look."
        if what == "svg": return Image(b"<svg/>")
        if what == "nested": return dict(image=Image(PNG))
        return [dict(a=1), Image(PNG, "plot\\x1b[2J.png"), Pdf(PDF), "x" * 90_000]
    def grade(self): return Grade(1.0, threshold=1.0)

def sees(view):
    seen = yield call("look")
    assert [one["type"] for one in seen.content] == ["text", "image", "document", "text"]
    bad = yield call("look", what="svg")
    assert bad.is_error and "is no PNG" in bad.text
    yield call("submit", number=1)

def nests(view): yield call("look", what="nested")

class See(Sum):
    policies = dict(baseline=sees, nests=nests)
    def open(self, seed) -> Seeing: return Seeing(self, seed)

@pytest.mark.rltask(task=See(), band=(0, 1))
def test_sum(trial): pass
"""


@pytest.fixture
def seeing(any_suite: Suite) -> Suite:
    return any_suite.write(test_sum=SEES.format(png=png(), pdf=PDF))


def test_what_a_tool_shows_is_kept_told_and_shown(seeing: Suite):
    assert seeing.run("--runs", "2").ret == 0

    run = seeing.last_run()
    assert sorted(path.suffix for path in (run.path / "media").iterdir()) == [".pdf", ".png"]  # once, for both trials
    lines = (run.path / next(run.path.glob("trials.*.jsonl")).name).read_text()
    assert base64.b64encode(png()).decode() not in lines
    transcript = next((run.path / "transcripts").glob("*00.txt")).read_text()
    assert "[image before.png: png, 4 x 3" in transcript
    assert "[image plot[2J.png: png, 4 x 3" in transcript
    page = (run.path / "report.html").read_text()
    packed = page.partition('class="block"')[2].partition(">")[2].partition("<")[0]
    data = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert data["pictures"] == [f"data:image/png;base64,{base64.b64encode(png()).decode()}"]
    assert [part[3] for part in data["trials"][0]["said"] if part[3]] == [[0], [0]]

    replayed = seeing.run("--runs", "2", model=f"replay:{run.path}")

    assert replayed.ret == 0
    first, second = run.records.values(), seeing.last_run().records.values()
    assert [one.messages[2] for one in first] == [one.messages[2] for one in second]
    assert seeing.run("--runs", "2", f"--resume={run.path}").ret == 0


def test_an_image_within_something_else_is_a_fault_that_says_what_to_write(seeing: Suite):
    result = seeing.run("--runs", "1", model="policy:nests")

    assert result.ret != 0
    (record,) = seeing.last_run().records.values()
    assert record.fault is not None
    assert "tool look" in record.fault.message
    assert "return it by itself, or in a list with texts" in record.fault.message


def test_the_api_gets_the_bytes(suite: Suite, serve: Serve):
    suite.write(test_sum=SEES.format(png=png(), pdf=PDF))
    api = serve([reply(tool_use("look", {})), reply(tool_use("submit", {"number": 1}))])

    assert suite.run("--runs", "1", model=MODEL).ret == 0

    first, second = (request.body["messages"] for request in api.requests)
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(png()).decode()}
    assert first[0]["content"][1] == {"type": "image", "source": source}
    result = second[2]["content"][0]["content"]
    assert [block["type"] for block in result] == ["text", "image", "document", "text"]
    assert result[1]["source"] == source
    assert "characters cut" in result[3]["text"]


def test_a_server_that_takes_no_images_is_told_of(suite: Suite, serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limiter, "MAX_BACKOFF_S", 0.0)
    suite.write(test_sum=SEES.format(png=png(), pdf=PDF))
    serve([status(400, message="messages.0.content.1: unsupported type image")])

    suite.run("--runs", "1", model=MODEL)

    (record,) = suite.last_run().records.values()
    assert record.fault is not None
    assert "the request holds images or documents, which not every server and model takes" in record.fault.message
