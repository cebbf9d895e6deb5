"""Downloads that fail: the real kagglehub client against a stand-in server, and every way to fail."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.imbalance import kaggle_download
from benchmarks.imbalance.kaggle import DataUnavailableError, load
from tests.benchmarks.imbalance.fake_kaggle import SIGNATURE, FakeKaggle, creditcard_csv
from tests.benchmarks.imbalance.kaggle_data.machine import CSV, POSITIVES, load_small, put_into_kagglehubs_cache
from tests.conftest import slow

# Downloads that fail


@pytest.mark.parametrize(("status", "tries"), [slow(403, 1), (404, 1), slow(429, 2), (500, 2)])
def test_it_tries_again_unless_the_answer_is_final(server: FakeKaggle, status: int, tries: int) -> None:
    server.status = status

    with pytest.raises(DataUnavailableError) as caught:
        load_small(attempts=2)

    assert str(status) in str(caught.value).splitlines()[0]
    assert server.downloads == tries


@pytest.mark.parametrize(("status", "tries"), [(401, 1), (403, 1), (404, 1), (429, 2), (500, 2)])
def test_an_answer_that_is_not_final_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, status: int, tries: int
) -> None:
    asked: list[float] = []
    told = {"status": status, "errno": None}
    monkeypatch.setattr(kaggle_download, "_ask_child", lambda seconds: [told, asked.append(seconds)][0])
    monkeypatch.setattr(kaggle_download, "_PAUSE_S", 0.0)

    with pytest.raises(kaggle_download.DownloadError, match=str(status)):
        kaggle_download.download(seconds=60, attempts=2)

    assert len(asked) == tries


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
    with pytest.raises(DataUnavailableError, match=r"was not finished after (3|2\.\d+) s"):
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
    put_into_kagglehubs_cache(machine, CSV, "3.complete")
    assert load_small().labels.sum() == POSITIVES


def test_a_process_that_holds_the_lock_too_long_is_named(machine: Path) -> None:
    lock = machine / "cache" / "pytest-rltask" / "creditcardfraud-v3" / "lock"
    lock.parent.mkdir(parents=True)

    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DataUnavailableError, match=rf"for 0.2 s and holds {lock}\n.*wait for that process"):
            load_small(deadline_s=0.2)


# The parsed copy


def _at_start_of_python(code: str, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every Python that is started from now on run this first."""
    (machine / "python").mkdir()
    (machine / "python" / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(machine / "python"))


def _note() -> Path:
    return Path(os.environ["XDG_CACHE_HOME"]) / "pytest-rltask" / "creditcardfraud-v3" / "download-failed.json"


def _forget_the_failure() -> None:
    _note().unlink()
