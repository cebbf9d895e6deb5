"""What a tool may return beside text: its bounds, its name, and how messages hold and send it."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_rltask import Image, Pdf, Sandbox, ToolError
from pytest_rltask.media import attached, opened
from pytest_rltask.media.attached import as_sent, content_text, estimated_tokens, media_line, result_of, too_much
from pytest_rltask.report.html_blocks import picture
from pytest_rltask.run.media_files import load_media, store_media
from pytest_rltask.run.record import Record
from tests.media.pictures import GIF, PDF, SVG, png


def test_it_is_made_of_bytes_a_path_or_a_file(tmp_path: Path):
    (tmp_path / "plot.png").write_bytes(png())

    class File:
        path = "in/box.png"

        def read(self, *, max_bytes: int) -> bytes:
            assert max_bytes == Image.most_bytes
            return png()

    assert [Image(png()).name, Image(tmp_path / "plot.png").name, Image(str(tmp_path / "plot.png"), "a").name] == [
        "",
        "plot.png",
        "a",
    ]
    assert Image(File()).name == "box.png"
    assert Image(png(), "a\x1b[2J\nb").name == "a[2Jb"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Image(SVG, "x.png"), r"x.png is no PNG, JPG, GIF, WEBP: its \d+ bytes begin as none of them does"),
        (lambda: Image(PDF), "the image is no PNG"),
        (lambda: Pdf(png()), "the pdf is no PDF"),
        (lambda: Image(png() + b"\0" * 3_750_000), "at most 3,750,000 can be shown"),
        (lambda: Image(png(9000, 1)), "has 9000 x 1 pixels; at most 8000 a side"),
        (lambda: Pdf(b"%PDF-1" + b"/Type/Page " * 101), "has 101 pages; at most 100"),
        (lambda: Image(Path("/dev/null")), "null is no file"),
    ],
)
def test_what_cannot_be_shown_is_told_to_whoever_made_it(make: object, said: str):
    with pytest.raises(ToolError, match=said):
        make()  # type: ignore[operator]


def test_a_pipe_in_the_place_of_a_picture_holds_nobody_up(tmp_path: Path):
    os.mkfifo(tmp_path / "plot.png")

    with pytest.raises(ToolError, match=r"plot.png is no file"):
        Image(tmp_path / "plot.png")


@pytest.fixture
def within(tmp_path: Path) -> Iterator[Path]:
    with Sandbox(backend="none") as sandbox:
        (tmp_path / "secret.png").write_bytes(png())
        (sandbox.path / "in").mkdir()
        (sandbox.path / "in/plot.png").write_bytes(png())
        (sandbox.path / "link.png").symlink_to(tmp_path / "secret.png")
        (sandbox.path / "out").symlink_to(tmp_path)
        (sandbox.path / "pipe.png").touch()
        os.link(sandbox.path / "pipe.png", sandbox.path / "twice.png")
        yield sandbox.path


def test_a_path_in_a_sandbox_is_read(within: Path):
    assert Image(within / "in/plot.png").name == "plot.png"
    assert Image(os.path.relpath(within / "in/plot.png")).content == png()
    assert (within.name, (within.parent / opened.OWNER).is_file()) == (opened.WORK, True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("link.png", "is a link, no file, or closed"),
        ("out/secret.png", "is a link, no file, or closed"),
        ("in/../link.png", r"contains '\.\.'"),
        ("twice.png", "has hard links"),
        ("later.png", "there is no file 'later.png'; make it first"),
        ("in", "in is no file"),
    ],
)
def test_no_link_of_an_agents_is_followed(within: Path, name: str, said: str):
    with pytest.raises(ToolError, match=said):
        Image(within / name)


def test_a_file_that_the_model_has_not_made_yet_is_told_to_it():
    with Sandbox(backend="none") as sandbox, pytest.raises(ToolError, match=r"there is no file 'plot.png'; make it"):
        Image(sandbox.file("plot.png"))


def test_a_file_of_the_authors_that_is_missing_is_a_bug(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        Image(tmp_path / "plot.png")


def test_what_is_not_taken_is_not_quoted(tmp_path: Path):
    (tmp_path / "x.png").write_bytes(b"SECRET=1234567")

    with pytest.raises(ToolError, match=r"^x.png is no PNG") as caught:
        Image(tmp_path / "x.png")

    assert "SECRET" not in str(caught.value)


def test_what_is_no_content_is_a_bug():
    with pytest.raises(TypeError, match=r"Image takes bytes or a path, got int; write Image\(data\)"):
        Image(3)  # type: ignore[arg-type]


def test_a_message_refers_to_it_and_a_request_has_its_bytes():
    image, pdf = Image(png(), "a.png"), Pdf(PDF, "b.pdf")
    text = {"type": "text", "text": "Look:"}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [text, image.block, pdf.block]}
    messages = [{"role": "user", "content": [image.block]}, {"role": "user", "content": [result]}]

    sent = as_sent(messages, {image.file: image.content, pdf.file: pdf.content})

    data = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(png()).decode()}
    assert sent[0]["content"] == [{"type": "image", "source": data}]
    assert sent[1]["content"][0]["content"][:2] == [text, {"type": "image", "source": data}]
    assert sent[1]["content"][0]["content"][2]["title"] == "b.pdf"
    assert as_sent(messages, {}) is messages
    assert content_text(result["content"]).splitlines() == [
        "Look:",
        f"[image a.png: png, 4 x 3, {len(png())} bytes, {image.file}]",
        f"[document b.pdf: pdf, 2 pages, {len(PDF)} bytes, {pdf.file}]",
    ]
    assert result_of(result).content == (text, image.block, pdf.block)
    assert estimated_tokens(messages) == 4000  # 12 pixels are none
    assert estimated_tokens([{"content": [Image(png(4000, 4000)).block]}]) == 1600


def test_a_conversation_shows_so_much(monkeypatch: pytest.MonkeyPatch):
    small, wide = Image(png()), Image(png(2001, 1))
    shown = [{"role": "user", "content": [small.block] * 20}]

    assert too_much(shown, []) == ""
    assert too_much([], [wide]) == ""
    assert "Of more than 20 images each can have at most 2000 pixels a side; one has 2001" in too_much(shown, [wide])
    assert "can show 100 images" in too_much([{"role": "user", "content": [small.block] * 100}], [small])
    monkeypatch.setattr(attached, "MOST_BYTES", 20 * len(png()))
    assert f"can show {20 * len(png()):,} bytes" in too_much(shown, [small])


def record(**media: bytes) -> Record:
    return Record("t", "task", "d", "m", 0, 1, media={f"media/{name}": content for name, content in media.items()})


def test_it_is_kept_once_and_read_only_if_it_is_what_was_shown(tmp_path: Path):
    image = Image(GIF)
    one = record(**{image.file.partition("/")[2]: GIF})

    store_media(tmp_path, one)
    written = (tmp_path / image.file).stat()
    store_media(tmp_path, one)

    assert (tmp_path / image.file).stat().st_ino == written.st_ino
    assert load_media(tmp_path, image.block) == GIF
    assert "media" not in one.to_json()
    (tmp_path / image.file).write_bytes(GIF[::-1])
    assert load_media(tmp_path, image.block) is None


@pytest.mark.parametrize("name", ["media/../../evil.png", "/etc/passwd", "media/x.png", "", "media/" + "a" * 32])
def test_no_record_leads_out_of_the_folder(tmp_path: Path, name: str):
    run = tmp_path / "runs" / "run"
    run.mkdir(parents=True)
    (tmp_path / "evil.png").write_bytes(GIF)

    store_media(run, Record("t", "task", "d", "m", 0, 1, media={name: GIF}))

    assert [path.name for path in run.rglob("*")] == []
    assert load_media(run, {**Image(GIF).block, "file": name}) is None


def test_no_link_is_followed(tmp_path: Path):
    image, run, other = Image(GIF), tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.mkdir()
    (run / "media").symlink_to(other)

    with pytest.raises(OSError, match="is a link"):
        store_media(run, record(**{image.file.partition("/")[2]: GIF}))
    (other / image.file.partition("/")[2]).write_bytes(GIF)

    assert load_media(run, image.block) is None


@pytest.mark.parametrize("key", ["bytes", "width", "height", "pages", "name", "media_type", "sha256"])
@pytest.mark.parametrize("value", ["many", [], {}, None, -1, True, 10**4000, "x" * 10**6])
def test_what_somebody_else_wrote_of_a_picture_is_shown_or_not_and_raises_nothing(
    key: str, value: object, tmp_path: Path
):
    image = Image(png())
    store_media(tmp_path, record(**{image.file.partition("/")[2]: png()}))
    block = {**image.block, key: value}

    assert picture(tmp_path, image.block).startswith("data:image/png;base64,")
    assert picture(tmp_path, block) in ("", picture(tmp_path, image.block))
    assert len(media_line(block)) < 400
    assert content_text([block, "text", 3]).endswith("\ntext\n3")
    assert estimated_tokens([{"content": [block]}]) >= 0
    assert isinstance(too_much([{"content": [block]}], []), str)


def test_a_picture_that_is_a_wall_of_pixels_is_not_put_in_the_page(tmp_path: Path):
    wall = png(40_000, 4)
    digest = hashlib.sha256(wall).hexdigest()
    name = f"{digest[:32]}.png"
    store_media(tmp_path, record(**{name: wall}))
    block = {"type": "image", "file": f"media/{name}", "sha256": digest, "bytes": len(wall)}

    assert load_media(tmp_path, block) == wall
    assert picture(tmp_path, block) == ""
