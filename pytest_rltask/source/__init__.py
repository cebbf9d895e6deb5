"""What an author's code says of itself: where it is written, and what its annotations mean.

Knows nothing of tasks and tools; `written` is for whoever has to tell an author what to write instead.
"""
