"""What the tests of the loader share: two files like the real one, how they are loaded, and where they are cached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.imbalance.kaggle import CreditCard, load
from tests.benchmarks.imbalance.fake_kaggle import creditcard_csv

ROOT = Path(__file__).parents[4]
ROWS, POSITIVES, DUPLICATES = 400, 20, 15
CSV = creditcard_csv(ROWS, POSITIVES, DUPLICATES, seed=1)
OTHER_CSV = creditcard_csv(ROWS, POSITIVES, DUPLICATES, seed=2)
NOWHERE = "http://127.0.0.1:9"
KAGGLEHUB_FOLDER = Path("datasets/mlg-ulb/creditcardfraud")


def load_small(**options: Any) -> CreditCard:
    return load(expected_rows=ROWS, expected_positives=POSITIVES, **options)


def put_into_kagglehubs_cache(machine: Path, csv: bytes, marker: str | None) -> None:
    """Have kagglehub find a file that it downloaded, with or without the marker that says so."""
    folder = machine / "kagglehub" / KAGGLEHUB_FOLDER
    (folder / "versions" / "3").mkdir(parents=True)
    (folder / "versions" / "3" / "creditcard.csv").write_bytes(csv)
    if marker:
        (folder / marker).parent.mkdir(parents=True, exist_ok=True)
        (folder / marker).touch()
