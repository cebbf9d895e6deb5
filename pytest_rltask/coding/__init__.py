"""Ready-made tools of coding tasks: a shell and an editor of files, for an episode's sandbox.

Each is an object with methods marked ``@tool``, as an author could write one too; an episode names those it has in
``Episode.tools``. Claude knows both by types of Anthropic's own, without a schema (``native``); any other model is told
what every tool is told by.
"""

from pytest_rltask.coding.bash import BashTool
from pytest_rltask.coding.editor import TextEditorTool

__all__ = ["BashTool", "TextEditorTool"]
