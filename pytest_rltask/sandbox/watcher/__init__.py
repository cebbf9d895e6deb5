"""The small program between us and the agent: sets limits, watches them, kills what is left. A process of its own.

`launcher` is started once per run and imports no more than this folder and a few small modules of Python; our process
takes constants and helpers from here, too. Nothing here imports anything of ours outside this folder.
"""
