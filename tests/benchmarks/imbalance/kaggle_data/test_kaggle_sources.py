"""The loader of the credit-card data: what it loads, and where that comes from."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.imbalance import kaggle, kaggle_download
from benchmarks.imbalance.kaggle import DataInvalidError, load
from tests.benchmarks.imbalance.fake_kaggle import FakeKaggle
from tests.benchmarks.imbalance.kaggle_data.machine import (
    CSV,
    DUPLICATES,
    KAGGLEHUB_FOLDER,
    OTHER_CSV,
    POSITIVES,
    ROOT,
    ROWS,
    load_small,
    put_into_kagglehubs_cache,
)

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
    put_into_kagglehubs_cache(machine, CSV, marker)

    assert load_small().csv_sha256 == hashlib.sha256(CSV).hexdigest()


def test_a_file_that_kagglehub_has_not_finished_is_not_used(server: FakeKaggle, machine: Path) -> None:
    put_into_kagglehubs_cache(machine, OTHER_CSV, marker=None)

    assert load_small().csv_sha256 == hashlib.sha256(CSV).hexdigest()


def test_a_file_deleted_from_kagglehubs_cache_is_downloaded_again(server: FakeKaggle, machine: Path) -> None:
    put_into_kagglehubs_cache(machine, b"not the data", marker="3.complete")
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


@pytest.mark.slow
def test_processes_that_start_at_once_download_once(server: FakeKaggle) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)

    with context.Pool(4, initializer=_meet, initargs=(barrier,)) as pool:
        found = [job.get(60) for job in [pool.apply_async(_hash_loaded) for _ in range(4)]]

    assert found == 4 * [hashlib.sha256(CSV).hexdigest()]
    assert server.downloads == 1


# The parsed copy


def _meet(barrier: Any) -> None:
    """Start at once with the other processes."""
    barrier.wait(60)


def _hash_loaded() -> str:
    return load_small().csv_sha256
