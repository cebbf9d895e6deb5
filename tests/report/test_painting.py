"""Colours: when there are any, and which part of a transcript has which."""

from __future__ import annotations

import io

import pytest

from pytest_rltask.report.painting import TranscriptPainter, painter, wants_colour
from pytest_rltask.report.transcript import render
from tests.report.pages import plan, record


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "screen", "pipe"),
    [
        ({}, True, False),
        ({"NO_COLOR": ""}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_who_wants_colours_gets_them(environ: dict[str, str], screen: bool, pipe: bool) -> None:
    assert (wants_colour(Screen(), environ), wants_colour(io.StringIO(), environ)) == (screen, pipe)


def test_each_title_has_the_colour_of_who_speaks() -> None:
    text = render(record(plan("sums", "m", 1)[0], "failed", 0.5))
    line = TranscriptPainter(lambda text, kind: f"<{kind}>").line
    seen = [line(one) for one in text.split("\n")]
    assert [one for one in seen if one.startswith("<")] == [
        "<prompt>", "<thinking>", "<faint>", "<faint>", "<model>", "<calls>", "<error>", "<missed>",
    ]  # fmt: skip
    assert "\n".join(map(TranscriptPainter(painter(colour=False)).line, text.split("\n"))) == text


def test_what_has_no_colour_is_left_as_it_is() -> None:
    paint = painter(colour=True)
    assert (paint("a", "no such kind"), paint("", "bold"), paint("a", "bold")) == ("a", "", "\033[1ma\033[0m")
