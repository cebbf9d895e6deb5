"""Questions asked of finished runs: what changed in what grades them, and what would they be graded now.

Neither pytest nor a model is needed. `changed` compares, `regrade` grades anew.
"""
