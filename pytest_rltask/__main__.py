"""``python -m pytest_rltask``: the command ``rltask`` where no script is installed."""

from __future__ import annotations

import sys

from pytest_rltask.cli import main

if __name__ == "__main__":
    sys.exit(main())
