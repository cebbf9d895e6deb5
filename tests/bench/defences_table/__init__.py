"""The defences that ``defences`` removes one at a time: the edit that removes each, and the tests that must notice.

Where two layers stop the same attack, they are removed together, and the note says which covers the other. Never
removed is what keeps a probe itself harmless: see ``tests/sandbox/attacks``.
"""

from __future__ import annotations

from tests.bench.defences_table.coding import CODING
from tests.bench.defences_table.defence import Defence
from tests.bench.defences_table.isolation import ISOLATION, OUR_FILES
from tests.bench.defences_table.rights import HYGIENE, LIMITS, RIGHTS
from tests.bench.defences_table.tasks import IMBALANCED, ONNX_EXPORT

__all__ = ["DEFENCES", "Defence"]

DEFENCES = (*HYGIENE, *LIMITS, *RIGHTS, *ISOLATION, *OUR_FILES, *CODING, *ONNX_EXPORT, *IMBALANCED)
