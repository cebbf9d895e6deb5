"""What grades a trial, by content: a fingerprint of the task's values and of the code that may decide over its grade.

`fingerprint` is what others use; `content`, `project` and `sources` look into values, folders and files for it. Code
is read here, never run.
"""
