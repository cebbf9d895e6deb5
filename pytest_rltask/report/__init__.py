"""What a person, a file or a CI system is told of a run, all from one `summary` of the run directory.

`table` writes numbers for every report alike, `terminal`, `html` and `files` are the reports, `transcript` shows a
conversation, `faults` tells equal faults once; `progress` and `statusline` tell of a run that goes on.
"""
