"""``--audit``: checks, without a model or a key, that a task is sound before anything is paid for.

The solver passes, doing nothing and every cheat fail, the grader says the same twice, the prompt states what is
demanded and shows no answer, nothing is left behind. Runs in pytest's process: `checks` says which checks there are,
each a function of a `case`; `plays` how an episode is played and watched; `omissions` sees from a class alone what its
author forgot. The items that show them are `suite.audit_items`. Where RFC 008 of OpenEnv (environment auto-validation)
has a check of the same intent, ours has its name.
"""
