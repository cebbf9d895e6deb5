"""Values of options that are one of a few words; what knows the words is loaded only when one is given."""

from __future__ import annotations

__all__ = ["parse_engine", "parse_gate", "parse_sandbox", "parse_way"]


def parse_engine(text: str) -> str:
    """Parse where trials run."""
    host, colon, port = text.removeprefix("ray://").rpartition(":")
    is_address = text.startswith("ray://") and bool(host and colon) and port.isdigit()
    if text not in ("local", "ray") and not is_address:
        raise ValueError("local, ray, or ray://HOST:PORT")
    return text


def parse_gate(text: str) -> str:
    """Parse a rule of the gate."""
    from pytest_rltask.verdict import GATES

    if text not in GATES:
        raise ValueError(f"one of {', '.join(GATES)}")
    return text


def parse_sandbox(text: str) -> str:
    """Parse the name of what isolates code."""
    from pytest_rltask.sandbox import BACKENDS

    if text not in BACKENDS:
        raise ValueError(f"one of {', '.join(BACKENDS)}")
    return text


def parse_way(text: str) -> str:
    """Parse what becomes of trials whose grader changed."""
    from pytest_rltask.analysis.changed import WAYS

    if text not in WAYS:
        raise ValueError(f"one of {', '.join(WAYS)}")
    return text
