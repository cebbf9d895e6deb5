"""The run directory: what a run leaves behind, written by the processes that play and read by everybody.

`record` is a finished trial, `log` writes and `load` reads a run, `named` finds one; `live`, `ledger` and `lock` are
for processes that are at the same run; `earlier` looks into the runs beside it. Nothing here knows pytest, a model or a
sandbox.
"""
