"""The HTML report as a document: well-formed, deaf to hostile text, and without scripts and requests."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pytest_rltask.report.html import html
from pytest_rltask.report.html_markup import clip, element
from pytest_rltask.report.summary import summarise
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Fault
from tests.report.pages import HOSTILE, elements_of, record, tree, written


def test_the_page_is_well_formed_and_its_ids_are_unique(mixed: Run):
    page = written(mixed)

    ids = [attributes["id"] for _, attributes in elements_of(page) if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert tree(page).get("lang") == "en"


def test_every_link_leads_within_the_page_or_to_a_transcript(mixed: Run):
    elements = elements_of(written(mixed))

    ids = {attributes.get("id") for _, attributes in elements}
    links = [str(attributes["href"]) for tag, attributes in elements if tag == "a"]
    assert {link for link in links if not link.startswith("transcripts/")} <= {f"#{name}" for name in ids}
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
    assert sum(tag == "style" for tag, _ in elements) == 1
    assert all(re.match(r"#|transcripts/", str(each["href"])) for _, each in elements if "href" in each)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page)


def test_hostile_names_never_become_markup(tmp_path: Path):
    planned = [
        PlannedTrial(f"t.py::t[{name}-run-00]", f"t.py::t[{name}]", name, "d", f"policy:{name}", 0, 1, (0.1, 0.4))
        for name in HOSTILE
    ]
    run = Run(tmp_path, {"command": "pytest"}, planned, {one.trial_id: record(one, "failed", 0.1) for one in planned})

    page = html(run, summarise(run, "point")).encode("utf-8").decode()

    assert "script" not in {tag for tag, _ in elements_of(page)}
    assert len(tree(page).findall(".//section")) == len(HOSTILE)


def test_the_page_forbids_scripts_and_requests(mixed: Run):
    policies = [meta["content"] for tag, meta in elements_of(written(mixed)) if meta.get("http-equiv")]

    assert len(policies) == 1
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'", str(policies[0])
    )


def test_only_markup_goes_unescaped():
    assert element("a", "<b>", title="\"'<") == '<a title="&quot;&#x27;&lt;">&lt;b&gt;</a>'
    assert element("a", element("b", "&")) == "<a><b>&amp;</b></a>"
    assert element("p", "\x00\ud800\r\n") == "<p>\u2400[U+D800]\n</p>"
    assert clip("x" * 10, 10) == "x" * 10
