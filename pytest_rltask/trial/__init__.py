"""One trial, from its episode's opening to its record. Runs in the process that plays, on its engine's loop.

`play` opens, converses, grades and closes; `conversation` lets a model and an episode alternate; `guard` runs the
code of tasks, where nothing it does can harm the accounting; `event_loop` is the loop that trials are played on.
"""
