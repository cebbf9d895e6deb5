"""The HTML report as a document: well-formed, deaf to hostile text, and without scripts and requests."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote

import pytest

from pytest_rltask.report.html import SCRIPTS, html
from pytest_rltask.report.html_markup import clip, element
from pytest_rltask.report.summary import summarise
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Fault
from tests.report.pages import HOSTILE, by_class, elements_of, opened, record, tree, written


def test_the_page_is_well_formed_and_its_ids_are_unique(mixed: Run):
    page = written(mixed)

    ids = [attributes["id"] for _, attributes in elements_of(page) if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert tree(page).get("lang") == "en"


def test_every_link_leads_within_the_page_or_to_a_transcript(mixed: Run):
    elements = elements_of(written(mixed))

    ids = {attributes.get("id") for _, attributes in elements}
    links = [str(attributes["href"]) for tag, attributes in elements if tag == "a"]
    within = {unquote(link) for link in links if not link.startswith("transcripts/")}
    assert within <= {f"#{name}" for name in ids}
    assert sum(link.startswith("transcripts/") for link in links) == len(mixed.records)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_never_becomes_markup(mixed: Run, hostile: str):
    harmless = [tag for tag, _ in elements_of(written(mixed))]
    for index, planned in enumerate(mixed.plan):
        values = {"label": "x", "reason": hostile, "stop": hostile, "metrics": {hostile: hostile}, "started": hostile}
        if index % 2:
            values["fault"] = Fault("task", hostile, hostile, details=hostile)
        if planned.trial_id in mixed.records:
            talk = json.loads(json.dumps(mixed.records[planned.trial_id].messages).replace("write_file", "NAME"))
            for message in talk:
                for block in message["content"]:
                    for key in set(block) & {"text", "thinking", "name", "content"}:
                        block[key] = hostile
                    block.get("input", {})["content"] = hostile
            vars(mixed.records[planned.trial_id]).update(values, messages=talk, system=hostile, info={"a": hostile})
    facts = dict.fromkeys(("command", "created", "python", "git_commit"), hostile)
    mixed.header.update(facts, packages={"pytest": hostile})

    page = written(mixed)

    elements = elements_of(page)
    tree(page)
    assert {tag for tag, _ in elements} <= set(harmless)
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on") or name == "style"]
    assert [tag for tag, each in elements if tag in ("style", "script") and "type" not in each] == ["style", "script"]
    assert {each["type"] for tag, each in elements if tag == "script" and "type" in each} == {"text/plain"}
    assert all(re.match(r"#|transcripts/", str(each["href"])) for _, each in elements if "href" in each)
    shown = [page, json.dumps(opened(page), ensure_ascii=False).replace("\\n", "")]
    assert not any(
        re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text) for text in shown
    )


def test_hostile_names_never_become_markup(tmp_path: Path):
    planned = [
        PlannedTrial(f"t.py::t[{name}-run-00]", f"t.py::t[{name}]", name, "d", f"policy:{name}", 0, 1, (0.1, 0.4))
        for name in HOSTILE
    ]
    run = Run(tmp_path, {"command": "pytest"}, planned, {one.trial_id: record(one, "failed", 0.1) for one in planned})

    page = html(run, summarise(run, "point")).encode("utf-8").decode()

    assert [tag for tag, each in elements_of(page) if tag == "script" and "type" not in each] == ["script"]
    assert len(by_class(tree(page), "row")) == len(HOSTILE)


def test_the_page_forbids_requests_and_any_script_but_its_own(mixed: Run):
    page = written(mixed)

    (policy,) = [str(meta["content"]) for tag, meta in elements_of(page) if meta.get("http-equiv")]
    own = [text for tag in ("script", "style") for text in re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in own]
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashes[0]}'; style-src 'sha256-{hashes[1]}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def test_the_script_makes_markup_of_nothing_and_asks_no_network():
    scripts = sorted(Path(str(files("pytest_rltask.report"))).glob("*.js"))

    assert {script.name for script in scripts} == set(SCRIPTS)
    ways = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|fetch\(|XMLHttp|WebSocket|import\("
    for script in scripts:
        text = script.read_text(encoding="utf-8")
        assert re.findall(ways, text) == [], script.name
        assert text.isascii()
        assert len(text.splitlines()) < 400


def test_only_markup_goes_unescaped():
    assert element("a", "<b>", title="\"'<") == '<a title="&quot;&#x27;&lt;">&lt;b&gt;</a>'
    assert element("a", element("b", "&")) == "<a><b>&amp;</b></a>"
    assert element("p", "\x00\ud800\r\n") == "<p>\u2400[U+D800]\n</p>"
    assert clip("x" * 10, 10) == "x" * 10
