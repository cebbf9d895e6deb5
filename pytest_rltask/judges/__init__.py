"""Models that a task's own code asks: a judge of what was written, a customer who is played.

`judge` says what a question and its answer are, and who may be asked; `rubric` is a judge by criteria that is ready to
use, `agreement` how far its votes agree. Nothing here sends anything: whom a trial asks, at whose cost, is
`trial/asking`.
"""

from __future__ import annotations
