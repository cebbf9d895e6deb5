"""`Image` and `Pdf`: what a tool may return beside text, and how messages hold it.

A message refers to one by a digest, with name, type and size; its bytes stand beside the messages, go to the API as the
base64 that it takes, and to disk once, as ``media/<digest>.png`` of the run directory.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pytest_rltask.media.opened import read_path
from pytest_rltask.media.sniffed import SUFFIXES, Format, sniff
from pytest_rltask.tools import ToolError, ToolResult

__all__ = [
    "FOLDER",
    "Image",
    "Media",
    "Pdf",
    "as_sent",
    "content_text",
    "count_in",
    "estimated_tokens",
    "is_reference",
    "media_line",
    "references",
    "result_of",
    "too_much",
]

FOLDER = "media"
KINDS = ("image", "document")
"""Types of the blocks that refer to media."""
IMAGE_BYTES, DOCUMENT_BYTES = 3_750_000, 15_000_000
"""Of one: the API takes 5 MB of base64 of an image, and 32 MB of a whole request."""
MOST_PX = 8000
"""Longest side of an image that the API takes."""
MOST_PAGES = 100
MOST_MEDIA, MOST_BYTES = 100, 22_000_000
"""Of one conversation: all of it goes with each request, which the API takes up to 32 MB of base64."""
FEW, MOST_PX_OF_MANY = 20, 2000
_NAME_CHARS, _MOST_COUNT = 100, 10**12
_TOKENS_OF_IMAGE, _PX_A_TOKEN, _TOKENS_A_PAGE = 1600, 750, 2000


class _File(Protocol):
    def read(self, *, max_bytes: int) -> bytes: ...


@dataclass(frozen=True, init=False, repr=False)
class Media:
    """Bytes of a known format, with a name for people.

    Args:
        content: the bytes, the path of a file of the author's, or a file of a sandbox (``self.box.file("plot.png")``).
        name: for transcripts and the model's documents; by default that of the file.

    Raises:
        ToolError: it is too large, no such format, or not in the sandbox (where no link is followed): if the model is
            to make it, it can make another.
    """

    content: bytes
    name: str
    format: Format

    takes: ClassVar[tuple[str, ...]] = ()
    kind: ClassVar[str] = ""
    most_bytes: ClassVar[int] = 0
    rltask_blocks: ClassVar[bool] = True

    def __init__(self, content: bytes | bytearray | str | os.PathLike[str] | _File, name: str = "") -> None:
        what = type(self).__name__
        if isinstance(content, bytes | bytearray | memoryview):
            data, own = bytes(content), ""
        elif isinstance(content, str | os.PathLike):
            data, own = read_path(Path(content), self.most_bytes), Path(content).name
        elif callable(getattr(content, "read", None)):
            own = Path(str(getattr(content, "path", "") or getattr(content, "name", ""))).name
            try:
                data = content.read(max_bytes=self.most_bytes)
            except FileNotFoundError:  # which a model can make
                raise ToolError(f"there is no file {own!r}; make it first") from None
        else:
            got = type(content).__name__
            raise TypeError(f"{what} takes bytes or a path, got {got}; write {what}(data) or {what}(path)")
        name = "".join(c for c in name or own if c.isprintable())[:_NAME_CHARS]
        called = name or f"the {what.lower()}"
        if len(data) > self.most_bytes:
            raise ToolError(f"{called} has {len(data):,} bytes; at most {self.most_bytes:,} can be shown")
        found = sniff(data)
        if found is None or found.media_type not in self.takes:
            known = ", ".join(SUFFIXES[one].upper() for one in self.takes)
            raise ToolError(f"{called} is no {known}: its {len(data):,} bytes begin as none of them does")
        if max(found.width, found.height) > MOST_PX:
            raise ToolError(
                f"{called} has {found.width} x {found.height} pixels; at most {MOST_PX} a side can be shown"
            )
        if found.pages > MOST_PAGES:
            raise ToolError(f"{called} has {found.pages} pages; at most {MOST_PAGES} can be shown")
        for field, value in (("content", data), ("name", name), ("format", found)):
            object.__setattr__(self, field, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self.content):,} bytes)"

    @property
    def file(self) -> str:
        """Where it is kept, below the run directory: named by its content."""
        return f"{FOLDER}/{hashlib.sha256(self.content).hexdigest()[:32]}.{SUFFIXES[self.format.media_type]}"

    @property
    def block(self) -> dict[str, Any]:
        """How messages refer to it."""
        size = {"pages": self.format.pages} if self.format.pages else {}
        size |= {"width": self.format.width, "height": self.format.height} if self.format.width else {}
        return {
            "type": self.kind,
            "file": self.file,
            "media_type": self.format.media_type,
            "sha256": hashlib.sha256(self.content).hexdigest(),
            "bytes": len(self.content),
            "name": self.name,
            **size,
        }


class Image(Media):
    """A picture that a tool shows the model: PNG, JPEG, GIF or WebP, told from its bytes.

    Example:
        >>> Image(b"GIF89a" + bytes([3, 0, 2, 0]), name="dot.gif")
        Image('dot.gif', 10 bytes)
    """

    takes = ("image/png", "image/jpeg", "image/gif", "image/webp")
    kind = "image"
    most_bytes = IMAGE_BYTES


class Pdf(Media):
    """A PDF document that a tool shows the model."""

    takes = ("application/pdf",)
    kind = "document"
    most_bytes = DOCUMENT_BYTES


def is_reference(block: Any) -> bool:
    """Say whether a block of a message refers to media."""
    return isinstance(block, Mapping) and block.get("type") in KINDS and isinstance(block.get("file"), str)


def media_line(block: Mapping[str, Any]) -> str:
    """Return what stands for media where there is text alone.

    Example:
        >>> media_line({"type": "image", "name": "a.png", "media_type": "image/png", "width": 4, "height": 3,
        ...             "bytes": 1234, "file": "media/ab.png"})
        '[image a.png: png, 4 x 3, 1,234 bytes, media/ab.png]'
    """
    kind = SUFFIXES.get(str(block.get("media_type")), "of unknown type")
    width, height, pages, weight = (count_in(block, key) for key in ("width", "height", "pages", "bytes"))
    size = [f"{width} x {height}"] if width and height else []
    size += [f"{pages} page{'s' * (pages != 1)}"] if pages else []
    name = f" {str(block['name'])[:_NAME_CHARS]}" if block.get("name") else ""
    parts = [kind, *size, f"{weight:,} bytes" if weight else "bytes unknown", str(block.get("file", "?"))[:_NAME_CHARS]]
    return f"[{block['type']}{name}: {', '.join(parts)}]"


def count_in(block: Mapping[str, Any], key: str) -> int:
    """Return a number of a block's, which may stand in a record that somebody else wrote; 0 if it is none."""
    found = block.get(key)
    return found if type(found) is int and 0 < found < _MOST_COUNT else 0


def content_text(content: Any) -> str:
    """Return a result's content as text, with a line for each picture and document."""
    if not isinstance(content, list):
        return str(content)
    lines = (media_line(one) if is_reference(one) else _text_of(one) for one in content)
    return "\n".join(lines)


def _text_of(block: Any) -> str:
    return str(block.get("text", block) if isinstance(block, Mapping) else block)


def result_of(block: Mapping[str, Any]) -> ToolResult:
    """Return the result that a block of a message holds."""
    content, is_error = block["content"], bool(block.get("is_error", False))
    blocks = tuple(content) if isinstance(content, list) else ()
    return ToolResult(content_text(content), is_error, blocks)


def references(messages: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the blocks of messages that refer to media."""
    for message in messages:
        for block in message["content"] if isinstance(message.get("content"), list) else ():
            inner = block.get("content") if isinstance(block, Mapping) else None
            yield from filter(is_reference, [block, *(inner if isinstance(inner, list) else ())])


def too_much(messages: Iterable[Mapping[str, Any]], more: Iterable[Media]) -> str:
    """Say why a conversation cannot show more; empty if it can.

    Args:
        messages: of the conversation.
        more: what is to be shown.
    """
    blocks = [*references(messages), *(one.block for one in more)]
    weight = sum(count_in(block, "bytes") for block in blocks)
    if len(blocks) > MOST_MEDIA:
        return f"A conversation can show {MOST_MEDIA} images and documents, and would hold {len(blocks)}."
    if weight > MOST_BYTES:
        return f"A conversation can show {MOST_BYTES:,} bytes of images and documents, and would hold {weight:,}."
    longest = max((count_in(block, side) for block in blocks for side in ("width", "height")), default=0)
    if len(blocks) > FEW and longest > MOST_PX_OF_MANY:
        return f"Of more than {FEW} images each can have at most {MOST_PX_OF_MANY} pixels a side; one has {longest}."
    return ""


def as_sent(messages: list[dict[str, Any]], media: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """Return messages as the API takes them, with the bytes of what they refer to.

    Args:
        messages: of a conversation.
        media: by file. Messages without any are returned as they are.
    """
    if not media:
        return messages
    return [{**message, "content": _sent(message["content"], media)} for message in messages]


def _sent(content: Any, media: Mapping[str, bytes]) -> Any:
    if not isinstance(content, list):
        return content
    sent = []
    for block in content:
        if is_reference(block) and block["file"] in media:
            data = base64.b64encode(media[block["file"]]).decode("ascii")
            titled = {"title": block["name"]} if block["type"] == "document" and block.get("name") else {}
            source = {"type": "base64", "media_type": block["media_type"], "data": data}
            sent.append({"type": block["type"], "source": source, **titled})
        elif block.get("type") == "tool_result":
            sent.append({**block, "content": _sent(block["content"], media)})
        else:
            sent.append(block)
    return sent


def estimated_tokens(messages: Iterable[Mapping[str, Any]]) -> int:
    """Return about how many tokens the media of messages are.

    An image is width x height / 750, which the API brings down to about 1,600 (docs of vision); a page 1,500 to 3,000.
    """
    total = 0
    for block in references(messages):
        area = count_in(block, "width") * count_in(block, "height")
        total += min(_TOKENS_OF_IMAGE, area // _PX_A_TOKEN) if area else _TOKENS_A_PAGE * int(block.get("pages", 1))
    return total
