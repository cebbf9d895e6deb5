"""Parse creditcard.csv, and tell it from anything else that may be in its place.

Models see the numbers as float32, so that is what decides whether a value is finite and whether two rows are equal.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["COLUMNS", "NotTheDataError", "Table", "parse"]

COLUMNS = ("Time", *(f"V{i}" for i in range(1, 29)), "Amount", "Class")


class NotTheDataError(ValueError):
    """The file is not the data set; the message is a clause about the file."""


@dataclass(frozen=True)
class Table:
    """What the file says."""

    features: NDArray[np.float32]
    """Shape (rows, 30), row by row in memory."""
    labels: NDArray[np.int8]
    groups: NDArray[np.int32]
    """Rows with equal features share a number; they are numbered in the order in which they first appear."""
    csv_sha256: str


def parse(csv: Path, *, rows: int, positives: int) -> Table:
    """Parse the file.

    Raises:
        OSError: it cannot be read.
        NotTheDataError: it is not the data set, which has so many rows and positives.
    """
    import numpy as np

    frame, csv_sha256 = _read(csv)
    with np.errstate(over="ignore"):  # becomes infinite, and is found so
        features = frame[list(COLUMNS[:-1])].to_numpy(np.float32)
    features = np.ascontiguousarray(features) + np.float32(0)  # makes -0.0, which has other bytes, 0.0
    if problem := _problem(frame, features, rows=rows, positives=positives):
        raise NotTheDataError(problem)
    return Table(features, frame["Class"].to_numpy(np.int8), _groups(features), csv_sha256)


def _read(csv: Path) -> tuple[pd.DataFrame, str]:
    """Return the columns and the file's hash."""
    import pandas as pd

    with csv.open("rb") as file:
        header = file.readline(4096).decode("utf-8-sig", errors="replace").strip()
        columns = tuple(name.strip().strip('"') for name in header.split(","))
        if not header:
            raise NotTheDataError("it does not start with a header")
        if columns != COLUMNS:
            raise NotTheDataError(f"it starts with {header[:40]!a}, not with the names Time, V1 to V28, Amount, Class")
        file.seek(0)
        csv_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        try:
            frame = pd.read_csv(file, engine="c", dtype="float64", header=0, names=list(COLUMNS))
        except ValueError as error:  # covers all of pandas' complaints
            raise NotTheDataError(" ".join(str(error).split())[:200]) from error
    if not isinstance(frame.index, pd.RangeIndex):  # what pandas makes of one value too many in the first row
        raise NotTheDataError(f"it has rows of more than {len(COLUMNS)} values")
    return frame, csv_sha256


def _problem(frame: pd.DataFrame, features: NDArray[np.float32], *, rows: int, positives: int) -> str | None:
    """Say what tells the columns from the data set's."""
    import numpy as np

    found = (len(frame), int((frame["Class"] == 1).sum()))
    if found != (rows, positives):
        hint = " (truncated?)" if found < (rows, positives) else ""
        return f"it has {found[0]} rows with {found[1]} frauds, not {rows} with {positives}{hint}"
    if bad := len(features) - int(np.isfinite(features).all(axis=1).sum()):
        return f"{bad} of its rows have missing or infinite values"
    if not frame["Class"].isin([0, 1]).all():
        return "Class has other values than 0 and 1"
    if (frame["Amount"] < 0).any():
        return "Amount has negative values"
    return None


def _groups(features: NDArray[np.float32]) -> NDArray[np.int32]:
    import numpy as np
    import pandas as pd

    keys = np.empty(len(features), object)
    keys[:] = features.view(np.dtype((np.void, features[0].nbytes)))[:, 0].tolist()
    groups: NDArray[np.int32] = pd.factorize(keys)[0].astype(np.int32)
    return groups
