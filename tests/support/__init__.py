"""What tests of several folders share: a scripted Messages API with its checks, a terminal, a task to play, interrupts.

Nothing here is collected, and nothing here may need a folder of tests: those import from here. What one folder's tests
share stands beside them. Commands stay at the top, where Makefile and docs call them: `tests.as_user`, `tests.compat`.
"""
