"""What ``rltask init`` writes: a task to begin with, whose audit holds at once. The texts lie beside `project`.

The texts are files with `new_task` and `NewTask` in the place of the names.
"""

from pytest_rltask.starter.project import Project, wrong_name

__all__ = ["Project", "wrong_name"]
