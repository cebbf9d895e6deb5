"""The draw of a seed, its certificate, and the secret behind it."""

from __future__ import annotations

import io
import multiprocessing
import os
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.onnx_export import data as data_module
from benchmarks.onnx_export.data import GEOMETRIES, Certificate, Data, Geometry, UncertifiedError, draw
from benchmarks.onnx_export.secret import SecretError, fingerprint, load_secret
from benchmarks.onnx_export.task import OnnxExport


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data directory that holds no secret yet."""
    monkeypatch.delenv("RLTASK_SECRET")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    return tmp_path


def test_the_same_secret_and_seed_give_the_same_data(data: Data, secret: bytes) -> None:
    again = draw(secret, 42, class_sep=0.7)

    assert again.train.csv() == data.train.csv()
    assert again.test.csv() == data.test.csv()
    assert np.array_equal(again.fresh.features, data.fresh.features)
    assert again.certificate == data.certificate


def test_another_seed_gives_other_data(data: Data, secret: bytes) -> None:
    assert draw(secret, 43, class_sep=0.7).train.csv() != data.train.csv()


@pytest.mark.parametrize("bit", [0, 31, 32, 77, 127])
def test_every_bit_of_the_secret_matters(secret: bytes, bit: int) -> None:
    other = (int.from_bytes(secret, "big") ^ (1 << bit)).to_bytes(16, "big")

    ours, theirs = (data_module._random_state(key, 42, 0).normal(size=8) for key in (secret, other))

    assert not np.isclose(ours, theirs).any()


def test_the_certificate_holds(data: Data) -> None:
    low, high = data.geometry.svc_band
    assert low <= data.certificate.svc_accuracy <= high
    assert data.certificate.mixture_accuracy >= 0.90


@pytest.mark.parametrize(
    ("svc", "fresh", "mixture"), [(0.849, 0.85, 0.95), (0.871, 0.85, 0.95), (0.86, 0.86, 0.95), (0.86, 0.85, 0.899)]
)
def test_a_draw_that_is_too_hard_or_too_easy_gets_no_certificate(svc: float, fresh: float, mixture: float) -> None:
    assert Certificate(0.86, 0.85, 0.95, (0.85, 0.87)).holds
    assert not Certificate(svc, fresh, mixture, (0.85, 0.87)).holds


def test_the_yardstick_stays_below_what_the_grader_demands_of_unseen_rows() -> None:
    assert OnnxExport().min_unseen_accuracy >= data_module.SVC_CEILING


def test_seeds_draw_every_geometry_about_as_often(secret: bytes) -> None:
    drawn = [data_module._random_state(secret, seed).randint(len(GEOMETRIES)) for seed in range(400)]

    assert all(70 <= drawn.count(which) <= 130 for which in range(len(GEOMETRIES)))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_true_clusters_and_columns_are_known(geometry: Geometry, secret: bytes) -> None:
    (train, _, _), known = data_module._sample(data_module._random_state(secret, 1, 0), geometry, 0.7)

    assert len(known.columns) == geometry.informative
    assert set(known.clusters) == set(range(2 * geometry.clusters))
    right = train.labels == known.clusters % 2
    assert 0.98 <= right.mean() < 1  # 1 % of labels is drawn at random, half of those as they were
    columns = train.features[:, known.columns]
    middles = np.array([columns[known.clusters == cluster].mean(axis=0) for cluster in range(2 * geometry.clusters)])
    assert abs(np.abs(middles).mean() / (0.7 * geometry.stretch) - 1) < 0.1  # corners of a cube


def test_the_three_samples_have_their_sizes_and_share_no_row(data: Data) -> None:
    samples = [data.train, data.test, data.fresh]
    rows = np.concatenate([sample.features for sample in samples])

    assert [sample.features.shape for sample in samples] == [(1000, 10), (1000, 10), (3000, 10)]
    assert len(np.unique(rows, axis=0)) == 5000
    assert all(0.44 < sample.labels.mean() < 0.56 for sample in samples)


def test_the_graders_copy_is_exactly_what_the_file_says(data: Data) -> None:
    read = pd.read_csv(io.StringIO(data.test.csv()))

    assert list(read.columns) == [*(f"feature_{i}" for i in range(10)), "label"]
    assert np.array_equal(read.to_numpy()[:, :10], data.test.features)
    assert np.array_equal(read["label"], data.test.labels)


def test_parameters_that_no_draw_can_satisfy_are_named(secret: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "MAX_ATTEMPTS", 2)

    with pytest.raises(UncertifiedError, match=r"none of 2 draws of seed 42 with class_sep=3 was certified"):
        draw(secret, 42, class_sep=3.0)


def test_a_secret_is_made_on_first_use_and_kept(home: Path) -> None:
    first = load_secret()
    file = home / "pytest-rltask" / "secret"

    assert len(first) == 16
    assert load_secret() == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["secret"]


def test_processes_that_race_for_the_first_use_get_the_same_secret(home: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = [job.get(30) for job in [pool.apply_async(load_secret) for _ in range(16)]]

    assert len(set(found)) == 1


def test_the_variable_wins_over_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = load_secret()
    monkeypatch.setenv("RLTASK_SECRET", "AB" * 16)

    assert load_secret() == b"\xab" * 16 != kept


@pytest.mark.parametrize("bad", ["xyz", "ab" * 15, "ab" * 17, "0x" + "ab" * 16])
def test_a_bad_variable_is_named_and_not_shown(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLTASK_SECRET", bad)

    with pytest.raises(SecretError, match=r"the environment variable RLTASK_SECRET .* 32 hex digits") as caught:
        load_secret()
    assert bad not in str(caught.value)


def test_a_damaged_file_is_named_and_not_shown(home: Path) -> None:
    file = home / "pytest-rltask" / "secret"
    file.parent.mkdir()
    file.write_text("not hexadecimal")

    with pytest.raises(SecretError, match="RLTASK_SECRET") as caught:
        load_secret()
    assert str(file) in str(caught.value)
    assert "hexadecimal" not in str(caught.value)


def test_a_directory_that_cannot_hold_the_secret_is_named(home: Path) -> None:
    (home / "pytest-rltask").write_text("a file where the folder should be")

    with pytest.raises(SecretError, match=r"cannot keep a secret in .*; set RLTASK_SECRET to 32 hex digits"):
        load_secret()


def test_a_fingerprint_tells_secrets_apart_without_giving_them_away(secret: bytes) -> None:
    other = os.urandom(16)

    assert len(fingerprint(secret)) == 8
    assert fingerprint(secret) != fingerprint(other)
    assert fingerprint(secret) not in secret.hex()
