"""Have kagglehub fetch the data set, in a child process that can be killed.

kagglehub sets no time limit on its requests, so a server that accepts and stays silent would hang the caller for
ever. Nor does it retry, but what an attempt has downloaded stays, and the next one goes on from there. This file
is the parent's side and, run as a script, the child. It is called with a lock held: two kagglehubs that
download the same data set break each other.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["FILE", "HANDLE", "DownloadError", "cached_copy", "download"]

HANDLE = "mlg-ulb/creditcardfraud/versions/3"
"""With its version: without one, kagglehub asks for the newest, even if it has the file and there is no network."""
FILE = "creditcard.csv"

_PAUSE_S = 1.0
"""Before the second attempt; twice as long before each further one."""
_GRACE_S = 10
"""After its time the child ends by itself, should the parent have died without killing it."""
_ANSWERS = {
    401: "Kaggle refused the request and asks for credentials (401)",
    403: "Kaggle refused the request (403)",
    404: "Kaggle does not know the data set (404)",
    429: "Kaggle answers too many requests (429)",
}
_FINAL_ANSWERS = (401, 403, 404)
_DISK_ERRORS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS),
    *(errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
)


class DownloadError(RuntimeError):
    """The data set could not be fetched; the message is one line without anything secret."""

    def __init__(self, reason: str, *, final: bool = False, storage: bool = False) -> None:
        super().__init__(reason)
        self.final = final or storage
        """Whether trying again is pointless."""
        self.storage = storage
        """Whether it is this machine that cannot keep the file."""


def cached_copy() -> Path | None:
    """Return the file in kagglehub's cache, if a download of it, alone or with its data set, was completed."""
    folder = _cache() / "datasets" / "mlg-ulb" / "creditcardfraud"
    markers = (folder / "3.complete", folder / ".complete" / "3" / f"{FILE}.complete")
    csv = folder / "versions" / "3" / FILE
    return csv if csv.exists() and any(marker.exists() for marker in markers) else None


def download(*, seconds: float, attempts: int) -> Path:
    """Fetch the file into kagglehub's cache.

    Args:
        seconds: time for all attempts. Each gets an equal share of what is left, so that one stalled connection does
            not use up the others' time.
        attempts: how often to try; refusals that will not change are not tried again.

    Raises:
        DownloadError: it cannot be had.
    """
    deadline = time.monotonic() + seconds
    failure = DownloadError("there was no time left for a download")
    for attempt in range(attempts):
        if attempt:
            time.sleep(max(0.0, min(_PAUSE_S * 2 ** (attempt - 1), deadline - time.monotonic())))
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            return _attempt(seconds=left / (attempts - attempt))
        except DownloadError as error:
            failure = error
            if error.final:
                break
    raise failure


def _cache() -> Path:
    return Path(os.environ.get("KAGGLEHUB_CACHE") or "~/.cache/kagglehub").expanduser()


def _attempt(*, seconds: float) -> Path:
    told = _ask_child(seconds)
    if "folder" in told:
        csv = Path(told["folder"]) / FILE
        if not csv.is_file():
            raise DownloadError(f"the data set arrived without a file {FILE}", final=True)
        return csv
    status, number = told["status"], told["errno"]
    if status is not None:
        raise DownloadError(_ANSWERS.get(status, f"Kaggle answered {status}"), final=status in _FINAL_ANSWERS)
    if number in _DISK_ERRORS:
        raise DownloadError(f"the download cannot be stored in {_cache()} ({os.strerror(number)})", storage=True)
    raise DownloadError(f"the download failed ({told['error']}: {_presentable(told['text'])})")


def _ask_child(seconds: float) -> dict[str, Any]:
    """Return what the child says: the folder, or the parts of an exception."""
    with subprocess.Popen(
        [sys.executable, "-P", __file__, str(math.ceil(seconds) + _GRACE_S)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a progress bar
        env=os.environ | {"KAGGLEHUB_VERBOSITY": "error"},
        start_new_session=True,
    ) as child:
        try:
            output, _ = child.communicate(timeout=seconds)
        except BaseException as error:  # an interrupt too must not leave it running
            os.killpg(child.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise DownloadError(f"the download was not finished after {seconds:.3g} s") from None
            raise
    try:
        told = json.loads(output.splitlines()[-1])
    except (ValueError, IndexError):
        told = None
    if child.returncode or not isinstance(told, dict):
        raise DownloadError(f"the download process ended without an answer (exit code {child.returncode})")
    return told


def _presentable(text: str) -> str:
    """Return an exception's text as one line without credentials: signed addresses, proxies with a password."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_KEY"):
        if secret := os.environ.get(name):
            text = text.replace(secret, "...")
    text = re.sub(r"\?\S+", "?...", text)
    text = re.sub(r"://[^\s/]*@", "://", text)
    return " ".join(text.rpartition("Caused by ")[2].split())[:300]


def _child(seconds: int) -> None:
    """Download, and write to standard output one line of JSON and nothing else."""
    signal.alarm(seconds)
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)  # kagglehub prints to standard output
        told: dict[str, Any]
        try:
            import kagglehub

            # Not FILE alone: kagglehub, interrupted before it unpacks a single file, takes the archive for the
            # file from then on. By force, because it takes a folder for complete from which the file was deleted.
            told = {"folder": kagglehub.dataset_download(HANDLE, force_download=True)}
        except Exception as error:
            told = {
                "error": type(error).__name__,
                "text": str(error),
                "errno": getattr(error, "errno", None),
                "status": getattr(getattr(error, "response", None), "status_code", None),
            }
        answer.write(f"\n{json.dumps(told)}\n")


if __name__ == "__main__":
    _child(int(sys.argv[1]))
