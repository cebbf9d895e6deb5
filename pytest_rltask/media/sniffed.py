"""What bytes are, by the bytes: PNG, JPEG, GIF and WebP with width and height, PDF with its pages.

No name and no claim is believed, and nothing is decoded: only headers are read, by their published layouts (PNG 3rd
edition 11.2.1, GIF89a 18, JPEG T.81 B.2.2, RFC 9649 for WebP). SVG is none of them: it is a program.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

__all__ = ["SUFFIXES", "Format", "sniff"]

SUFFIXES = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "application/pdf": "pdf",
}
"""What the Messages API takes, with the ending of a file's name."""
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_BARE = {0x01, *range(0xD0, 0xD9)}


@dataclass(frozen=True)
class Format:
    """A format, and the size of what is in it."""

    media_type: str
    width: int = 0
    """In pixels; 0 for a document."""
    height: int = 0
    pages: int = 0
    """Pages of a document, as far as its text tells; 0 for an image."""


def sniff(content: bytes) -> Format | None:
    """Return what bytes are; None if they are none of these, or end before they say how large they are.

    Example:
        >>> sniff(b"GIF89a" + bytes([3, 0, 2, 0]))
        Format(media_type='image/gif', width=3, height=2, pages=0)
        >>> sniff(b"<svg xmlns='http://www.w3.org/2000/svg'/>") is None
        True
    """
    if content.startswith(b"%PDF-"):
        return Format("application/pdf", pages=max(1, len(_PAGE.findall(content))))
    try:
        media_type, size = _image(content)
    except (struct.error, IndexError):
        return None
    return Format(media_type, *size) if media_type and min(size) > 0 else None


def _image(content: bytes) -> tuple[str, tuple[int, int]]:
    if content.startswith(b"\x89PNG\r\n\x1a\n") and content[12:16] == b"IHDR":
        return "image/png", struct.unpack_from(">II", content, 16)
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif", struct.unpack_from("<HH", content, 6)
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg", _of_jpeg(content)
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp", _of_webp(content)
    return "", (0, 0)


def _of_jpeg(content: bytes) -> tuple[int, int]:
    at = 2
    while True:
        if content[at] != 0xFF:
            raise IndexError("no marker where one must be")
        while content[at] == 0xFF:
            at += 1
        marker = content[at]
        at += 1
        if marker in _BARE:
            continue
        (length,) = struct.unpack_from(">H", content, at)
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 3)
            return width, height
        if length < 2 or marker == 0xDA:
            raise IndexError("image data before a frame")
        at += length


def _of_webp(content: bytes) -> tuple[int, int]:
    match content[12:16]:
        case b"VP8 " if content[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack_from("<HH", content, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L" if content[20] == 0x2F:
            (bits,) = struct.unpack_from("<I", content, 21)
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            low = [int.from_bytes(content[place : place + 3], "little") for place in (24, 27)]
            if len(content) >= 30:
                return low[0] + 1, low[1] + 1
    return 0, 0
