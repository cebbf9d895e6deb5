"""What one option is: a name on the command line and in the ini file, and how its value is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Option"]


@dataclass(frozen=True)
class Option:
    """One setting, on the command line and in the ini file."""

    flag: str
    """Its short name, which is another's where somebody else claims it; see :mod:`pytest_rltask.suite.option_names`."""
    metavar: str
    default: Any
    example: str
    """A value to write, shown where a given one does not fit."""
    help: str
    parse: Callable[[str], Any]
    repeatable: bool = False
    is_switch: bool = False
    """Whether it takes no value: on where it is given, and ``true`` or ``false`` in the ini file."""
    has_ini: bool = True
    """Whether it is a setting of the ini file as well."""
    is_lines: bool = False
    """Whether the ini file gives one value a line, instead of words."""

    @property
    def long_flag(self) -> str:
        """Its true name, which nobody else can claim."""
        return f"--rltask-{self.flag.removeprefix('--')}"

    @property
    def attributes(self) -> dict[str, Any]:
        """What pytest's parser needs to know of its value."""
        if self.is_switch:
            return {"action": "store_true", "default": None}
        return {"action": "append" if self.repeatable else "store", "metavar": self.metavar, "default": None}

    @property
    def defaults(self) -> Any:
        """What it is where nobody says anything: of a repeatable one all its values."""
        if not self.repeatable:
            return self.default
        return () if self.default is None else (self.default,)

    @property
    def name(self) -> str:
        """Name within :class:`Options`."""
        return self.flag.lstrip("-").replace("-", "_")

    @property
    def ini_kind(self) -> Any:
        """What pytest is to read of the ini file."""
        words = "linelist" if self.is_lines else "args"
        return "bool" if self.is_switch else words if self.repeatable else "string"

    @property
    def dest(self) -> str:
        """Name of the parsed command line's attribute and of the ini setting."""
        return f"rltask_{self.name}"
