"""The loader of the credit-card data: the real kagglehub client against a stand-in server, and every way to fail."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.imbalance import kaggle, kaggle_download
from benchmarks.imbalance.kaggle import CreditCard, DataInvalidError, DataUnavailableError, load
from tests.benchmarks.fake_kaggle import SIGNATURE, FakeKaggle, creditcard_csv

ROOT = Path(__file__).parents[2]
ROWS, POSITIVES, DUPLICATES = 400, 20, 15
CSV = creditcard_csv(ROWS, POSITIVES, DUPLICATES, seed=1)
OTHER_CSV = creditcard_csv(ROWS, POSITIVES, DUPLICATES, seed=2)
NOWHERE = "http://127.0.0.1:9"
KAGGLEHUB_FOLDER = Path("datasets/mlg-ulb/creditcardfraud")


def load_small(**options: Any) -> CreditCard:
    return load(expected_rows=ROWS, expected_positives=POSITIVES, **options)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without data, credentials and network; its parsed copies are in ``cache/pytest-rltask``."""
    for name in list(os.environ):
        if name.startswith("KAGGLE") or name.upper().endswith("_PROXY") or name == "CREDITCARD_DATA_DIR":
            monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOWHERE)
        monkeypatch.setenv(name.lower(), NOWHERE)
    for name, folder in (("HOME", "home"), ("XDG_CACHE_HOME", "cache"), ("KAGGLEHUB_CACHE", "kagglehub")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setattr(kaggle_download, "_PAUSE_S", 0.0)
    return tmp_path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKaggle]:
    """Kaggle, within reach of the machine."""
    with FakeKaggle(CSV) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def local_csv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that the user has."""
    csv = tmp_path / "mine" / "creditcard.csv"
    csv.parent.mkdir()
    csv.write_bytes(CSV)
    monkeypatch.setenv("CREDITCARD_DATA_DIR", str(csv.parent))
    return csv


# What is loaded


def test_it_loads_what_the_file_says(local_csv: Path) -> None:
    frame = pd.read_csv(io.BytesIO(CSV))

    data = load_small()

    assert np.array_equal(data.features, frame.drop(columns="Class").to_numpy(np.float32))
    assert np.array_equal(data.labels, frame["Class"])
    assert (data.features.dtype, data.labels.dtype, data.groups.dtype) == (np.float32, np.int8, np.int32)
    assert data.labels.sum() == POSITIVES
    assert data.csv_sha256 == hashlib.sha256(CSV).hexdigest()


def test_the_arrays_are_mapped_row_by_row_and_read_only(local_csv: Path) -> None:
    data = load_small()

    assert isinstance(data.features, np.memmap)
    assert data.features.flags.c_contiguous
    for array in (data.features, data.labels, data.groups):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_exactly_the_rows_with_equal_features_share_a_group(local_csv: Path) -> None:
    data = load_small()

    distinct = len(np.unique(data.features, axis=0))
    _, first_of_group = np.unique(data.groups, return_index=True)
    assert len(first_of_group) == distinct == ROWS - DUPLICATES
    assert np.array_equal(data.features, data.features[first_of_group[data.groups]])


def test_neither_the_label_nor_the_sign_of_zero_makes_a_duplicate_another_row(local_csv: Path) -> None:
    header, *_ = CSV.splitlines()
    rows = [["7", *28 * ["0"], "1.5", '"0"'], ["7", *28 * ["-0.0"], "1.50", '"1"'], ["8", *28 * ["0"], "1.5", '"0"']]
    local_csv.write_bytes(b"\n".join([header, *(",".join(row).encode() for row in rows)]) + b"\n")

    data = load(expected_rows=3, expected_positives=1)

    assert data.groups.tolist() == [0, 0, 1]


def test_importing_it_is_cheap() -> None:
    code = "import sys, benchmarks.imbalance.kaggle; print(*{name.partition('.')[0] for name in sys.modules})"

    modules = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    assert not {"numpy", "pandas", "kagglehub", "filelock", "requests"} & set(modules.split())


# Where it comes from


def test_the_first_load_downloads_and_the_next_needs_neither_network_nor_kagglehub(
    server: FakeKaggle, machine: Path
) -> None:
    first = load_small()
    seen = list(server.requests)
    shutil.rmtree(machine / "kagglehub")

    again = load_small()

    assert [request.method for request in seen] == ["POST", "GET"]
    assert server.requests == seen
    assert np.array_equal(again.features, first.features)
    assert again.csv_sha256 == first.csv_sha256 == hashlib.sha256(CSV).hexdigest()


def test_what_kagglehub_has_downloaded_is_used_without_network(server: FakeKaggle, machine: Path) -> None:
    kaggle_download.download(seconds=60.0, attempts=1)
    server.status = 500

    assert load_small().csv_sha256 == hashlib.sha256(CSV).hexdigest()
    assert server.downloads == 1


@pytest.mark.parametrize("marker", ["3.complete", ".complete/3/creditcard.csv.complete"])
def test_a_copied_kagglehub_cache_is_used(machine: Path, marker: str) -> None:
    _put_into_kagglehubs_cache(machine, CSV, marker)

    assert load_small().csv_sha256 == hashlib.sha256(CSV).hexdigest()


def test_a_file_that_kagglehub_has_not_finished_is_not_used(server: FakeKaggle, machine: Path) -> None:
    _put_into_kagglehubs_cache(machine, OTHER_CSV, marker=None)

    assert load_small().csv_sha256 == hashlib.sha256(CSV).hexdigest()


def test_a_file_deleted_from_kagglehubs_cache_is_downloaded_again(server: FakeKaggle, machine: Path) -> None:
    _put_into_kagglehubs_cache(machine, b"not the data", marker="3.complete")
    with pytest.raises(DataInvalidError) as caught:
        load_small()
    csv = machine / "kagglehub" / KAGGLEHUB_FOLDER / "versions" / "3" / "creditcard.csv"
    assert f"delete {csv} to have it downloaded" in str(caught.value)

    csv.unlink()

    assert load_small().labels.sum() == POSITIVES


def test_a_local_file_wins_over_the_parsed_copy_of_a_download(
    server: FakeKaggle, local_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_csv.write_bytes(OTHER_CSV)
    monkeypatch.delenv("CREDITCARD_DATA_DIR")
    downloaded = load_small()
    monkeypatch.setenv("CREDITCARD_DATA_DIR", str(local_csv.parent))

    local = load_small()

    assert downloaded.csv_sha256 == hashlib.sha256(CSV).hexdigest()
    assert local.csv_sha256 == hashlib.sha256(OTHER_CSV).hexdigest()


def test_a_local_file_is_parsed_once_and_again_when_it_changes(
    local_csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[Path] = []
    parse = kaggle.parse
    monkeypatch.setattr(kaggle, "parse", lambda csv, **expected: parsed.append(csv) or parse(csv, **expected))

    load_small(), load_small()
    assert parsed == [local_csv]

    before = local_csv.stat()
    header, first, second, *others = CSV.splitlines(keepends=True)
    local_csv.write_bytes(b"".join([header, second, first, *others]))
    os.utime(local_csv, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert load_small().csv_sha256 == hashlib.sha256(local_csv.read_bytes()).hexdigest()
    assert parsed == [local_csv, local_csv]


def test_a_home_directory_may_be_abbreviated(local_csv: Path, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(machine))
    monkeypatch.setenv("CREDITCARD_DATA_DIR", "~/mine")

    assert load_small().labels.sum() == POSITIVES


def test_processes_that_start_at_once_download_once(server: FakeKaggle) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)

    with context.Pool(4, initializer=_meet, initargs=(barrier,)) as pool:
        found = [job.get(60) for job in [pool.apply_async(_hash_loaded) for _ in range(4)]]

    assert found == 4 * [hashlib.sha256(CSV).hexdigest()]
    assert server.downloads == 1


# Downloads that fail


@pytest.mark.parametrize(("status", "tries"), [(403, 1), (404, 1), (429, 2), (500, 2)])
def test_it_tries_again_unless_the_answer_is_final(server: FakeKaggle, status: int, tries: int) -> None:
    server.status = status

    with pytest.raises(DataUnavailableError) as caught:
        load_small(attempts=2)

    assert str(status) in str(caught.value).splitlines()[0]
    assert server.downloads == tries


def test_every_failure_names_the_ways_out_one_a_line(server: FakeKaggle) -> None:
    server.status = 404

    with pytest.raises(DataUnavailableError) as caught:
        load_small()

    first, *ways_out = str(caught.value).splitlines()
    assert first == "the credit-card data set is not available: Kaggle does not know the data set (404)"
    for line, way_out in zip(
        ways_out,
        ["KAGGLE_API_TOKEN=", "CREDITCARD_DATA_DIR=/dir/with/creditcard.csv", "KAGGLEHUB_CACHE=", "--source synthetic"],
        strict=True,
    ):
        assert way_out in line


def test_a_token_logs_in_and_goes_to_kaggle_alone(server: FakeKaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    server.needs_login = True
    with pytest.raises(DataUnavailableError, match=r"asks for credentials \(401\)"):
        load_small()
    _forget_the_failure()
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_0123456789")

    load_small()

    *_, asked, fetched = server.requests
    assert asked.authorization == "Bearer KGAT_0123456789"
    assert fetched.method == "GET"
    assert fetched.authorization is None


def test_a_corrupt_download_is_not_parsed(server: FakeKaggle) -> None:
    server.corrupt = True

    with pytest.raises(DataUnavailableError, match=r"DataCorruptionError: .* MD5 checksum"):
        load_small(attempts=2)

    assert server.downloads == 2


def test_a_dropped_download_goes_on_where_it_ended(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    csv = creditcard_csv(5_000, 20, 0, seed=3)  # the client keeps whole megabytes
    with FakeKaggle(csv) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        server.drop_after = 1_200_000

        data = load(expected_rows=5_000, expected_positives=20, attempts=2)

    assert data.csv_sha256 == hashlib.sha256(csv).hexdigest()
    assert server.downloads == 2
    assert server.requests[-1].first_byte == 1 << 20


def test_a_silent_server_costs_the_deadline_and_no_more(server: FakeKaggle) -> None:
    server.silent_requests = 2

    start = time.monotonic()
    with pytest.raises(DataUnavailableError, match="was not finished after 3 s"):
        load_small(deadline_s=3.0, attempts=1)
    assert 3.0 <= time.monotonic() - start < 60.0  # the server would be silent for ever


@pytest.mark.slow
def test_a_stalled_connection_leaves_time_for_another(server: FakeKaggle) -> None:
    server.silent_requests = 1

    assert load_small(deadline_s=8.0, attempts=2).labels.sum() == POSITIVES
    assert server.downloads == 2


def test_a_download_whose_parent_died_ends_by_itself(server: FakeKaggle) -> None:
    server.silent_requests = 1

    done = subprocess.run([sys.executable, "-P", kaggle_download.__file__, "1"], timeout=30, check=False)

    assert done.returncode == -signal.SIGALRM


def test_what_else_the_download_process_prints_is_no_answer(
    server: FakeKaggle, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = """print('{"folder": "/nowhere"}', flush=True)"""
    _at_start_of_python(f"import atexit; {noise}; atexit.register(lambda: {noise})", machine, monkeypatch)

    assert load_small().labels.sum() == POSITIVES


def test_a_download_process_that_dies_is_reported(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _at_start_of_python("""import os; os.write(1, b'{"folder": "/nowhere"}'); os._exit(7)""", machine, monkeypatch)

    with pytest.raises(DataUnavailableError, match=r"ended without an answer \(exit code 7\)"):
        load_small(attempts=1)


def test_without_kagglehub_the_message_says_so(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _at_start_of_python("import sys; sys.modules['kagglehub'] = None", machine, monkeypatch)

    with pytest.raises(DataUnavailableError, match=r"ModuleNotFoundError: .*kagglehub"):
        load_small(attempts=1)


def test_no_message_has_a_signature_or_a_password(server: FakeKaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    server.storage = "https://storage.invalid"
    monkeypatch.setenv("HTTPS_PROXY", "http://me:my-password@127.0.0.1:9")
    monkeypatch.setenv("https_proxy", "http://me:my-password@127.0.0.1:9")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_0123456789")

    with pytest.raises(DataUnavailableError, match="ProxyError") as caught:
        load_small(attempts=1)

    for secret in (SIGNATURE, "my-password", "KGAT_0123456789"):
        assert secret not in str(caught.value)
        assert secret not in repr(caught.value.__cause__)


@pytest.mark.parametrize(
    ("text", "presented"),
    [
        ("a\n  b", "a b"),
        ("GET https://host/file.zip?X-Signature=abc&x=1 failed", "GET https://host/file.zip?... failed"),
        ("no proxy http://me:p@ss@host:1/", "no proxy http://host:1/"),
        ("bad token KGAT_1", "bad token ..."),
        ("with url: /file (Caused by Some('reason'))", "Some('reason'))"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_an_exception_is_presented_as_a_line(text: str, presented: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_1")

    assert kaggle_download._presentable(text) == presented


def test_a_failed_download_is_not_tried_again_within_a_minute(server: FakeKaggle) -> None:
    server.status = 500
    with pytest.raises(DataUnavailableError, match=r"Kaggle answered 500\n"):
        load_small(attempts=1)
    server.status = 200

    with pytest.raises(DataUnavailableError, match=r"Kaggle answered 500, \d+ s ago\n.*delete .*download-failed.json"):
        load_small()
    assert server.downloads == 1

    note = _note()
    note.write_text(json.dumps({"time": time.time() - 61, "reason": "long ago"}))
    assert load_small().labels.sum() == POSITIVES


@pytest.mark.parametrize("damaged", ["", "[1]", '{"time": "soon", "reason": ""}', '{"time": 1e99, "reason": ""}'])
def test_a_damaged_note_holds_nobody_up(server: FakeKaggle, damaged: str) -> None:
    _note().parent.mkdir(parents=True)
    _note().write_text(damaged)

    assert load_small().labels.sum() == POSITIVES


def test_a_failed_download_does_not_keep_a_local_file_from_being_used(
    server: FakeKaggle, local_csv: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDITCARD_DATA_DIR")
    server.status = 404
    with pytest.raises(DataUnavailableError):
        load_small()

    monkeypatch.setenv("CREDITCARD_DATA_DIR", str(local_csv.parent))
    assert load_small().labels.sum() == POSITIVES

    monkeypatch.delenv("CREDITCARD_DATA_DIR")
    _put_into_kagglehubs_cache(machine, CSV, "3.complete")
    assert load_small().labels.sum() == POSITIVES


def test_a_process_that_holds_the_lock_too_long_is_named(machine: Path) -> None:
    lock = machine / "cache" / "pytest-rltask" / "creditcardfraud-v3" / "lock"
    lock.parent.mkdir(parents=True)

    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DataUnavailableError, match=rf"for 0.2 s and holds {lock}\n.*wait for that process"):
            load_small(deadline_s=0.2)


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


def _meet(barrier: Any) -> None:
    """Start at once with the other processes."""
    barrier.wait(60)


def _hash_loaded() -> str:
    return load_small().csv_sha256


def _put_into_kagglehubs_cache(machine: Path, csv: bytes, marker: str | None) -> None:
    folder = machine / "kagglehub" / KAGGLEHUB_FOLDER
    (folder / "versions" / "3").mkdir(parents=True)
    (folder / "versions" / "3" / "creditcard.csv").write_bytes(csv)
    if marker:
        (folder / marker).parent.mkdir(parents=True, exist_ok=True)
        (folder / marker).touch()


def _at_start_of_python(code: str, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every Python that is started from now on run this first."""
    (machine / "python").mkdir()
    (machine / "python" / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(machine / "python"))


def _note() -> Path:
    return Path(os.environ["XDG_CACHE_HOME"]) / "pytest-rltask" / "creditcardfraud-v3" / "download-failed.json"


def _forget_the_failure() -> None:
    _note().unlink()


def _replace(file: Path, content: bytes) -> None:
    """Put other content in place of a file that may be mapped."""
    other = file.with_name("other")
    other.write_bytes(content)
    other.replace(file)
