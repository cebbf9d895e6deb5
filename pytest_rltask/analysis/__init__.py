"""Questions asked of finished runs: what changed in what grades them, and what would they be graded now.

Neither pytest nor a model is needed. `changed` tells what differs in what grades, `regrade` grades anew, `compare` sets
two runs side by side, and `calibrate` proposes thresholds; `paired` and `order` are their statistics, which know no
records.
"""
