"""What the tests of the data share: all fractions of the minority that a task may ask for."""

from __future__ import annotations

from hypothesis import strategies as st

from benchmarks.imbalance.synthetic import MINORITY_FRACS

FRACTIONS = st.floats(*MINORITY_FRACS)
