"""Files that are not the data set, and the parsed copy of one that is."""

from __future__ import annotations

import errno
import io
import os
import re
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.imbalance.kaggle import DataInvalidError, DataUnavailableError, load
from tests.benchmarks.imbalance.fake_kaggle import FakeKaggle
from tests.benchmarks.imbalance.kaggle_data.machine import CSV, POSITIVES, ROWS, load_small

# Files that are not the data set


def _without_a_column(csv: bytes) -> bytes:
    return b"\n".join(line.rpartition(b",")[0] for line in csv.splitlines())


def _with_cell(number: int, cell: bytes, *, row: int = ROWS // 2) -> Callable[[bytes], bytes]:
    """Return what replaces a cell of the first row from ``row`` on that is no fraud."""

    def replace(csv: bytes) -> bytes:
        lines = csv.splitlines()
        chosen = next(i for i in range(row, len(lines)) if lines[i].endswith(b'"0"'))
        cells = lines[chosen].split(b",")
        cells[number] = cell
        lines[chosen] = b",".join(cells)
        return b"\n".join(lines)

    return replace


INVALID: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda csv: b"", "it does not start with a header"),
    "binary": (lambda csv: bytes(range(256)) * 100, "it starts with"),
    "archive": (lambda csv: b"PK\x03\x04" + csv, r"it starts with 'PK\\x03\\x04\"Time\""),
    "column missing": (_without_a_column, "it starts with .*, not with the names Time, V1 to V28, Amount, Class"),
    "columns in another order": (lambda csv: csv.replace(b'"V1","V2"', b'"V2","V1"'), "it starts with"),
    "header only": (lambda csv: csv.splitlines()[0], r"it has 0 rows with 0 frauds, not 400 with 20 \(truncated\?\)"),
    "truncated": (lambda csv: csv[: len(csv) // 2], r"it has \d+ rows with \d+ frauds, .* \(truncated\?\)"),
    "a row too many": (lambda csv: csv + csv.splitlines()[1], "it has 401 rows with 20 frauds, not 400 with 20$"),
    "a fraud too few": (lambda csv: csv.replace(b'"1"\n', b'"0"\n', 1), "it has 400 rows with 19 frauds"),
    "no number": (_with_cell(5, b"n.n."), "could not convert string to float"),
    "missing": (_with_cell(5, b""), "1 of its rows have missing or infinite values"),
    "not a number": (_with_cell(5, b"nan"), "1 of its rows have missing or infinite values"),
    "infinite": (_with_cell(5, b"-inf"), "1 of its rows have missing or infinite values"),
    "infinite as float32": (_with_cell(5, b"1e300"), "1 of its rows have missing or infinite values"),
    "a third class": (_with_cell(30, b'"2"'), "Class has other values than 0 and 1"),
    "negative amount": (_with_cell(29, b"-0.01"), "Amount has negative values"),
    "a cell too many": (_with_cell(30, b'"0",1'), "Expected 31 fields in line .*, saw 32"),
    "a cell too many at first": (_with_cell(30, b'"0",1', row=1), "has rows of more than 31 values"),
    "a cell too many everywhere": (
        lambda csv: csv.replace(b'"\n', b'",1\n').replace(b'",1\n', b'"\n', 1),
        "of more than",
    ),
    "undecodable": (_with_cell(5, b"\xff\xfe"), "codec can't decode byte 0xff"),
    "open quote": (_with_cell(5, b'"'), "could not convert string to float"),
}


@pytest.mark.parametrize("name", INVALID)
def test_it_says_in_a_line_why_a_file_is_not_the_data_set(name: str, local_csv: Path, machine: Path) -> None:
    damage, words = INVALID[name]
    local_csv.write_bytes(damage(CSV))

    with pytest.raises(DataInvalidError) as caught:
        load_small()

    first, *ways_out = str(caught.value).splitlines()
    assert first.startswith(f"{local_csv} is not the credit-card data set: ")
    assert re.search(words, first)
    assert len(first) < len(str(local_csv)) + 260
    assert len(ways_out) == 3
    assert "unset CREDITCARD_DATA_DIR" in ways_out[0]
    assert not list((machine / "cache").rglob("meta.json"))


def test_a_download_that_is_not_the_data_set_is_invalid(server: FakeKaggle) -> None:
    with pytest.raises(DataInvalidError, match=r"it has 400 rows with 20 frauds, not 284807 with 492 \(truncated\?\)"):
        load()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda csv: None, "No such file or directory"),
        (lambda csv: csv.mkdir(), "is not a file"),
        (os.mkfifo, "is not a file"),
        pytest.param(
            lambda csv: csv.symlink_to("/proc/self/mem"),
            "Input/output error",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="has no file that even root cannot read"),
        ),
    ],
    ids=["none", "directory", "pipe", "unreadable"],
)
def test_a_local_file_that_cannot_be_read_is_named(
    make: Callable[[Path], None], reason: str, local_csv: Path, machine: Path
) -> None:
    local_csv.unlink()
    make(local_csv)

    with pytest.raises(DataUnavailableError) as caught:
        load_small()

    first = str(caught.value).splitlines()[0]
    assert str(local_csv) in first
    assert reason in first
    assert not list((machine / "cache").rglob("download-failed.json"))


# The parsed copy


def _save(array: np.ndarray[Any, Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "features truncated": ("features.npy", lambda content: content[: len(content) // 2]),
    "features of another shape": ("features.npy", lambda content: _save(np.zeros((ROWS, 29), np.float32))),
    "features of another type": ("features.npy", lambda content: _save(np.zeros((ROWS, 30)))),
    "labels empty": ("labels.npy", lambda content: b""),
    "labels wrong": ("labels.npy", lambda content: _save(np.zeros(ROWS, np.int8))),
    "groups a pickle": ("groups.npy", lambda content: b"\x80\x04N."),
    "groups with a broken header": ("groups.npy", lambda content: content.replace(b"descr", b"{{{(\x00")),
    "meta empty": ("meta.json", lambda content: b""),
    "meta a list": ("meta.json", lambda content: b"[]"),
    "meta undecodable": ("meta.json", lambda content: b"\xff"),
    "meta without hash": ("meta.json", lambda content: content.replace(b"csv_sha256", b"sha")),
    "other format": ("meta.json", lambda content: content.replace(b'"format": 1', b'"format": 0')),
    "other origin": ("meta.json", lambda content: content.replace(b"modified", b"copied")),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_copy_is_made_anew(name: str, local_csv: Path, machine: Path) -> None:
    file_name, damage = DAMAGE[name]
    before = load_small()
    (file,) = (machine / "cache").rglob(file_name)
    sound = file.read_bytes()
    damaged = damage(sound)
    assert damaged != sound
    _replace(file, damaged)

    after = load_small()

    assert np.array_equal(after.features, before.features)
    assert np.array_equal(after.labels, before.labels)
    assert np.array_equal(after.groups, before.groups)
    assert after.csv_sha256 == before.csv_sha256
    assert file.read_bytes() == sound


def test_a_copy_of_which_a_file_is_missing_is_made_anew(local_csv: Path, machine: Path) -> None:
    load_small()
    (file,) = (machine / "cache").rglob("groups.npy")
    file.unlink()

    assert len(load_small().groups) == ROWS


@pytest.mark.parametrize("good_writes", [0, 1, 3])
def test_a_disk_that_is_full_is_named_and_leaves_no_half_copy(
    good_writes: int, local_csv: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = iter(range(100))

    def fsync(descriptor: int) -> None:
        if next(writes) >= good_writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(DataUnavailableError, match=r"No space left on device\)\n.*XDG_CACHE_HOME=/dir"):
            load_small()

    assert not [path for pattern in ("*.part", "meta.json") for path in (machine / "cache").rglob(pattern)]
    assert load_small().labels.sum() == POSITIVES


def test_a_cache_that_cannot_be_written_is_named(local_csv: Path, machine: Path) -> None:
    (machine / "cache").mkdir()
    (machine / "cache" / "pytest-rltask").write_text("a file where the folder should be")

    with pytest.raises(DataUnavailableError, match=r"cannot be kept in .*cache/pytest-rltask.*\n.*XDG_CACHE_HOME=/dir"):
        load_small()


def test_a_kagglehub_cache_that_cannot_be_written_is_named(server: FakeKaggle, machine: Path) -> None:
    (machine / "kagglehub").write_text("a file where the folder should be")

    with pytest.raises(DataUnavailableError, match=r"cannot be stored in .*kagglehub .*\n.*KAGGLEHUB_CACHE=/dir"):
        load_small(attempts=3)

    assert server.downloads <= 1


def test_a_download_that_outgrows_the_disk_is_named(server: FakeKaggle) -> None:
    with (
        _files_no_larger_than(len(CSV) // 2),
        pytest.raises(DataUnavailableError, match=r"cannot be stored in .*kagglehub \(File too large\)\n"),
    ):
        load_small(attempts=3)

    assert server.downloads == 1


def test_a_parsed_copy_that_outgrows_the_disk_is_named(local_csv: Path) -> None:
    with (
        _files_no_larger_than(20_000),
        pytest.raises(DataUnavailableError, match=r"cannot be kept in .* \(File too large\)\n"),
    ):
        load_small()


@contextmanager
def _files_no_larger_than(size: int) -> Iterator[None]:
    """Limit what this process and those that it starts can write, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def _replace(file: Path, content: bytes) -> None:
    """Put other content in place of a file that may be mapped."""
    other = file.with_name("other")
    other.write_bytes(content)
    other.replace(file)
