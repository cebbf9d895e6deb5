"""Find out how to train a classifier on imbalanced data: see ``task.py`` and the README."""
