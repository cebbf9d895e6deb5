"""The subcommands of ``rltask``: one module each, which reads its options, calls what answers, and prints.

A module has `EXAMPLE`, `add_arguments` and `run`, and is imported when its command is given; `pytest_rltask.cli` lists
them. What they print is found in the folders below: nothing is computed here. No module needs pytest to be running.
"""
