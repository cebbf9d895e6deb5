"""The secret that a machine mixes into every draw, so that nobody regenerates the data by guessing a seed.

128 bits from ``RLTASK_SECRET`` (32 hex digits), else from a file in the user's data directory that is made on
first use. With the same secret, the same seed gives the same data. It never is put into a sandbox, a
prompt, a record or an error text; what a record holds is its fingerprint. As long as the sandbox does not isolate,
code that looks for the file can read it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
from pathlib import Path

__all__ = ["SECRET_VARIABLE", "SecretError", "fingerprint", "load_secret"]

SECRET_VARIABLE = "RLTASK_SECRET"
_SECRET_BYTES = 16
_WAY_OUT = f"set {SECRET_VARIABLE} to 32 hex digits, for example from `openssl rand -hex {_SECRET_BYTES}`"


class SecretError(RuntimeError):
    """There is no usable secret; the message says how to provide one."""


def load_secret() -> bytes:
    """Return this machine's secret, made on first use.

    Raises:
        SecretError: the variable or the file holds something else, or the file can be neither read nor made.
    """
    if given := os.environ.get(SECRET_VARIABLE):
        return _decode(given, where=f"the environment variable {SECRET_VARIABLE}")
    path = _path()
    try:
        if not path.exists():
            _create(path)
        kept = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise SecretError(f"cannot keep a secret in {path} ({error.strerror}); {_WAY_OUT}") from error
    return _decode(kept, where=f"the file {path}")


def fingerprint(secret: bytes) -> str:
    """Return 8 hex digits that tell two secrets apart and give neither away."""
    return hashlib.sha256(b"pytest-rltask secret " + secret).hexdigest()[:8]


def _path() -> Path:
    home = os.environ.get("XDG_DATA_HOME") or Path("~/.local/share").expanduser()
    return Path(home) / "pytest-rltask" / "secret"


def _create(path: Path) -> None:
    """Create the file whole or not at all: of two processes that race, both then read the winner's."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".secret-")  # mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)


def _decode(text: str, *, where: str) -> bytes:
    try:
        secret = bytes.fromhex(text.strip())
    except ValueError:
        secret = b""
    if len(secret) != _SECRET_BYTES:
        raise SecretError(f"{where} does not hold a secret of {2 * _SECRET_BYTES} hex digits; {_WAY_OUT}") from None
    return secret
