"""The conversations of a page: JSON, deflated in blocks of several trials, each opened only once it is looked at.

A block is read by `html_data.js`. One holds about BLOCK_CHARS characters, so that a trial opens at once and yet the
texts that trials share (prompts, libraries' messages) are packed together; a text that a block has already is not
written again. What goes in is whole: nothing of a conversation is cut.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_rltask.media.attached import MOST_PX, count_in
from pytest_rltask.media.sniffed import sniff
from pytest_rltask.report.html_markup import Html, clip, element
from pytest_rltask.report.html_trials import LINE_CHARS, TrialView
from pytest_rltask.report.visible import visible
from pytest_rltask.run.media_files import load_media
from pytest_rltask.run.messages import Part, said

__all__ = ["MOST_CHARS", "blocks"]

BLOCK_CHARS = 400_000
"""Length from which on a block takes no further trial."""
PICTURE_BYTES, PICTURE_CHARS = 300_000, 4_000_000
"""Largest picture that the page shows, and how much of pictures a block holds; others are named with their files."""
MOST_CHARS = 200_000_000
"""Longest that all blocks of a page may be together, packed: a browser's strings end at about 500 million."""
LEVEL = 5
"""Of zlib: within 3 % of the smallest, in a quarter of its time."""


def blocks(trials: Iterable[TrialView], *, most_chars: int = MOST_CHARS) -> Iterator[Html]:
    """Yield the elements that hold what there is to read of trials, in their order, one block at a time.

    Args:
        trials: numbered from 0, as their rows of the table are.
        most_chars: what the page has room for; trials beyond it are named with their transcripts instead.
    """
    room, left_out = most_chars, list[TrialView]()
    for block in _filled(trials):
        packed = block.packed() if room else ""
        if packed and len(packed) <= room:
            room -= len(packed)
            yield Html(packed)
        else:
            room = 0
            left_out += block.trials
    if left_out:
        yield _told(left_out)


def picture(run_dir: Path, block: Mapping[str, Any]) -> str:
    """Return an image of a conversation as what an ``<img>`` shows; empty if it is large, gone, or no image.

    Its type is that of its bytes: what a record says of it is a model's, or somebody else's.
    """
    content = load_media(run_dir, block) if 0 < count_in(block, "bytes") <= PICTURE_BYTES else None
    found = sniff(content) if content else None
    if content is None or found is None or not 0 < max(found.width, found.height) <= MOST_PX:  # few bytes may be a wall
        return ""
    return f"data:{found.media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _filled(trials: Iterable[TrialView]) -> Iterator[_Block]:
    block = _Block(0)
    for trial in trials:
        block.add(trial)
        if block.length >= BLOCK_CHARS:
            yield block
            block = _Block(block.first + len(block.trials))
    if block.trials:
        yield block


class _Block:
    """Trials that are packed together."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.trials: list[TrialView] = []
        self.length = 0
        self._entries: list[dict[str, object]] = []
        self._texts: dict[str, int] = {}
        self._pictures: dict[str, int] = {}

    def add(self, trial: TrialView) -> None:
        record = trial.whole
        parts = said(record) if record else ()
        details = record.fault.details if record and record.fault else ""
        self.trials.append(trial)
        self._entries.append(
            {
                "facts": [[visible(name), visible(value)] for name, value in trial.facts()],
                "details": self._index(details) if details else None,
                "said": [
                    [
                        part.kind,
                        self._index(clip(part.title, LINE_CHARS)),
                        self._index(part.text.rstrip()),
                        self._shown(trial, part),
                    ]
                    for part in parts
                ],
            }
        )

    def _shown(self, trial: TrialView, part: Part) -> list[int]:
        """Return where the block holds the pictures of a part, as far as they are small."""
        found = []
        for one in part.shown if self.length < BLOCK_CHARS + PICTURE_CHARS else ():
            if url := picture(trial.run.path, one):
                if url not in self._pictures:
                    self._pictures[url] = len(self._pictures)
                    self.length += len(url)
                found.append(self._pictures[url])
        return found

    def _index(self, text: str) -> int:
        """Return where the block holds a text, which is put there the first time."""
        if text not in self._texts:
            self._texts[text] = len(self._texts)
            self.length += len(text)
        return self._texts[text]

    def packed(self) -> Html:
        data = {
            "texts": [visible(text) for text in self._texts],
            "trials": self._entries,
            "pictures": [*self._pictures],
        }
        deflated = zlib.compress(json.dumps(data, ensure_ascii=False).encode(), LEVEL)
        text = base64.b64encode(deflated).decode()
        return element(
            "script", text, type="text/plain", class_="block", data_first=self.first, data_count=len(self.trials)
        )


def _told(trials: list[TrialView]) -> Html:
    names = ", ".join(trial.transcript for trial in trials[:3])
    more = f" and {len(trials) - 3:,} more there" if len(trials) > 3 else ""
    return element(
        "p",
        f"The conversations of {len(trials):,} trials are not in this page, which would be too long for a browser: "
        f"read {clip(names, 2 * LINE_CHARS)}{more}.",
        class_="left-out",
    )
