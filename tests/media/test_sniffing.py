"""A format is told from bytes, whatever a name says, and bytes that are none raise nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.media.sniffed import sniff
from tests.media.pictures import GIF, JPEG, PDF, SVG, WEBP_EXTENDED, WEBP_LOSSLESS, WEBP_LOSSY, png

PICTURES = {
    "png": png(),
    "gif": GIF,
    "jpeg": JPEG,
    "lossy": WEBP_LOSSY,
    "lossless": WEBP_LOSSLESS,
    "extended": WEBP_EXTENDED,
}


@pytest.mark.parametrize("kind", PICTURES)
def test_an_image_has_its_size(kind: str):
    found = sniff(PICTURES[kind])

    assert found is not None
    assert (found.width, found.height, found.pages) == (4, 3, 0)
    assert found.media_type == f"image/{kind if kind in ('png', 'gif', 'jpeg') else 'webp'}"


def test_a_document_has_its_pages():
    found = sniff(PDF)

    assert found is not None
    assert (found.media_type, found.pages) == ("application/pdf", 2)


@pytest.mark.parametrize(
    "content", [b"", SVG, b"<html>", b"BM" + b"\0" * 40, b"\xff\xd8\xff", png()[:20], GIF[:8], png(0, 3), JPEG[:12]]
)
def test_what_is_none_is_none(content: bytes):
    assert sniff(content) is None


@given(st.sampled_from([*PICTURES.values(), PDF]), st.data())
def test_no_bytes_raise_anything(content: bytes, data: st.DataObject):
    cut = data.draw(st.integers(0, len(content)))

    sniff(content[:cut] + data.draw(st.binary(max_size=40)))
