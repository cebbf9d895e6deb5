"""Runs as files of other systems: trainers, viewers and tables, one file here for each system.

`selection` says which trials are exported and counts those that are not, `conversation` tells what was said in words
that most systems share, `target` makes files that replace nothing. Another system's library is imported only where its
format is written, and none at all for formats that are plain JSON.
"""
