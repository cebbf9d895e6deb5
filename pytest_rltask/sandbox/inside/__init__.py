"""What runs within the isolation, beside the agent's code: programs of the standard library, handed over as source.

`confine` gives up the last rights and becomes the agent's command, `preload` is the interpreter that is forked for each
run, `substitutes` is Python's ``sitecustomize`` where Landlock takes away more than agents' code must lose. None of
them can import anything of ours: the agent may not see where we lie.
"""

import functools
from pathlib import Path

__all__ = ["source"]


@functools.cache
def source(program: str) -> str:
    """Return the source of one of these programs, to be started where the file itself cannot be seen."""
    return Path(__file__).with_name(f"{program}.py").read_text(encoding="utf-8")
