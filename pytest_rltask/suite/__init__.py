"""pytest's side of a run: what becomes of options, marked tests, items and the verdict. Runs in pytest's processes.

`session` puts the parts together, and the hooks of :mod:`pytest_rltask.plugin` call it; nothing below this folder
imports it. What a user types is `options`; what is played is `items` and `plan`; who plays it when is `playing`,
`ahead`, `setups`, `shares` and `scheduling`; what ends it early is `stopping` and `interrupt`; what a test's outcome
makes of a trial is `judging`, and of the run `gate`. `resume` goes on with an earlier run; `audit_items` are the items
of ``--audit``.
"""
