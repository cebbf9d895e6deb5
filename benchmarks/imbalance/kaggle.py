"""The real data: Kaggle's creditcardfraud, 284,807 card payments of which 492 are fraud.

``load`` returns memory-mapped arrays of a parsed copy that this machine keeps, so that all workers share them. The
first call makes the copy, from the file in ``CREDITCARD_DATA_DIR``, else from kagglehub's cache, else from a
download, while other processes wait for it. Data that cannot be had is the infrastructure's fault, never a trial's.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .kaggle_csv import COLUMNS, NotTheDataError, parse
from .kaggle_download import FILE, HANDLE, DownloadError, cached_copy, download

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["DATA_DIR_VARIABLE", "CreditCard", "DataInvalidError", "DataUnavailableError", "load"]

DATA_DIR_VARIABLE = "CREDITCARD_DATA_DIR"

FAILURE_HOLDS_S = 60.0
"""A failed download is not tried again within this time, so that not every trial of a run waits for it."""
_FORMAT = 1
"""Of the parsed copy; a copy in another format is made anew."""
_WAYS_OUT = (
    "give this machine access to Kaggle; the data set is public, and KAGGLE_API_TOKEN=... logs in if it must be",
    f"{DATA_DIR_VARIABLE}=/dir/with/{FILE} takes a file that you have",
    "KAGGLEHUB_CACHE=/dir takes that folder (~/.cache/kagglehub) as copied from a machine where this worked",
    "--source synthetic needs no data set",
)
_ROOM = "XDG_CACHE_HOME=/dir (40 MB) and KAGGLEHUB_CACHE=/dir (250 MB) keep the data where there is room"


@dataclass(frozen=True)
class CreditCard:
    """The data set as memory-mapped, read-only arrays."""

    features: NDArray[np.float32]
    """Shape (284807, 30): Time, V1 to V28, Amount."""
    labels: NDArray[np.int8]
    """1 for fraud."""
    groups: NDArray[np.int32]
    """Rows with equal features share a number: such duplicates must not straddle a split."""
    csv_sha256: str
    """Of the file that was parsed."""


class DataUnavailableError(RuntimeError):
    """The data set cannot be had; the message says why in a line and then how to get it."""


class DataInvalidError(RuntimeError):
    """There is a file, but it is not the data set; the message says why in a line and then what to do."""


def load(
    *, expected_rows: int = 284_807, expected_positives: int = 492, deadline_s: float = 600.0, attempts: int = 3
) -> CreditCard:
    """Return the data set; only the first call on a machine takes longer than some milliseconds.

    Args:
        expected_rows: how many rows the file must have.
        expected_positives: how many of them must be fraud.
        deadline_s: time for waiting for another process and downloading, together.
        attempts: how often to try the download.

    Raises:
        DataUnavailableError: the file can be neither found nor downloaded, or the parsed copy not be written.
        DataInvalidError: the file is not the data set.
    """
    deadline = time.monotonic() + deadline_s
    copy = _copy(expected_rows, expected_positives)
    if data := copy.read():
        return data
    from filelock import FileLock, Timeout

    try:
        copy.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(copy.folder / "lock", timeout=deadline_s):
            if data := copy.read():  # of the process that held the lock
                return data
            csv = copy.local_csv or cached_copy() or _download(copy.folder, deadline=deadline, attempts=attempts)
            copy.write(csv)
    except Timeout:
        raise _unavailable(
            f"another process has been getting it for {deadline_s:g} s and holds {copy.folder / 'lock'}",
            "wait for that process, or end it and run again",
        ) from None
    except OSError as error:
        raise _unavailable(f"a parsed copy cannot be kept in {copy.folder} ({error.strerror})", _ROOM) from error
    if data := copy.read():
        return data
    raise _unavailable(f"the parsed copy in {copy.folder} cannot be read back", _ROOM)


@dataclass(frozen=True)
class _Copy:
    """The parsed copy of a file: three arrays, and ``meta.json``, which is written last."""

    folder: Path
    local_csv: Path | None
    """The file of ``CREDITCARD_DATA_DIR``."""
    origin: str
    """Identifies the file that was parsed."""
    rows: int
    positives: int

    def read(self) -> CreditCard | None:
        """Map the arrays, or return None for a copy that is missing, damaged or of something else."""
        import numpy as np

        try:
            meta = json.loads((self.folder / "meta.json").read_text(encoding="utf-8"))
            arrays = [np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in ("features", "labels", "groups")]
            features, labels, groups = arrays
            sound = (
                all(meta[key] == value for key, value in self._identity().items())
                and [array.shape for array in arrays] == [(self.rows, len(COLUMNS) - 1), (self.rows,), (self.rows,)]
                and [array.dtype for array in arrays] == [np.float32, np.int8, np.int32]
                and int(labels.sum()) == self.positives
            )
            return CreditCard(features, labels, groups, str(meta["csv_sha256"])) if sound else None
        except Exception:  # damage can raise nearly anything, and the answer is always to parse again
            return None

    def write(self, csv: Path) -> None:
        """Parse a file; readers see a whole copy or none.

        Raises:
            OSError: the copy cannot be written.
            DataUnavailableError: the file cannot be read.
            DataInvalidError: it is not the data set.
        """
        try:
            table = parse(csv, rows=self.rows, positives=self.positives)
        except NotTheDataError as error:
            raise _invalid(csv, str(error), local=self.local_csv is not None) from error
        except OSError as error:
            raise _unavailable(f"{csv} cannot be read ({error.strerror})") from error
        (self.folder / "meta.json").unlink(missing_ok=True)
        _replace(self.folder / "features.npy", _npy(table.features))
        _replace(self.folder / "labels.npy", _npy(table.labels))
        _replace(self.folder / "groups.npy", _npy(table.groups))
        meta = self._identity() | {"csv_sha256": table.csv_sha256}
        _replace(self.folder / "meta.json", json.dumps(meta, indent=2).encode())

    def _identity(self) -> dict[str, Any]:
        return {"format": _FORMAT, "origin": self.origin, "rows": self.rows, "positives": self.positives}


def _copy(rows: int, positives: int) -> _Copy:
    """Return where the parsed copy of the file in force is, or would be."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pytest-rltask"
    if not (given := os.environ.get(DATA_DIR_VARIABLE)):
        return _Copy(root / "creditcardfraud-v3", None, HANDLE, rows, positives)
    csv = Path(given).expanduser().resolve() / FILE
    try:
        status = csv.stat()
    except OSError as error:
        raise _unavailable(f"{DATA_DIR_VARIABLE} is set, but {csv} cannot be read ({error.strerror})") from error
    if not csv.is_file():
        raise _unavailable(f"{DATA_DIR_VARIABLE} is set, but {csv} is not a file")
    origin = f"{csv}, {status.st_size} bytes, modified {status.st_mtime_ns}"
    folder = root / f"creditcardfraud-{hashlib.sha256(origin.encode(errors='surrogateescape')).hexdigest()[:12]}"
    return _Copy(folder, csv, origin, rows, positives)


def _download(folder: Path, *, deadline: float, attempts: int) -> Path:
    """Download, unless that failed a moment ago; a failure leaves a note for those who come after."""
    note = folder / "download-failed.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        failure = json.loads(note.read_text(encoding="utf-8"))
        age, reason = time.time() - failure["time"], failure["reason"]
        if 0 <= age < FAILURE_HOLDS_S:
            raise _unavailable(f"{reason}, {age:.0f} s ago", f"delete {note}, or wait a minute, to try again")
    try:
        return download(seconds=deadline - time.monotonic(), attempts=attempts)
    except DownloadError as error:
        with suppress(OSError):
            note.write_text(json.dumps({"time": time.time(), "reason": str(error)}), encoding="utf-8")
        raise _unavailable(str(error), *([_ROOM] if error.storage else [])) from error


def _npy(array: NDArray[Any]) -> memoryview:
    """Return what ``np.save`` writes; when it writes to a full disk itself, its error does not say so."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getbuffer()


def _replace(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole or not at all; what an interrupted call has left is overwritten by the next."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _unavailable(reason: str, *ways_out: str) -> DataUnavailableError:
    lines = (f"the credit-card data set is not available: {reason}", *ways_out, *_WAYS_OUT)
    return DataUnavailableError("\n  - ".join(lines))


def _invalid(csv: Path, problem: str, *, local: bool) -> DataInvalidError:
    replace = f"unset {DATA_DIR_VARIABLE}" if local else f"delete {csv}"
    lines = (
        f"{csv} is not the credit-card data set: {problem}",
        f"{replace} to have it downloaded",
        f"{DATA_DIR_VARIABLE}=/dir/with/{FILE} takes another file",
        _WAYS_OUT[-1],
    )
    return DataInvalidError("\n  - ".join(lines))
