"""The shipped tasks: one folder a task, which imports only names that ``pytest_rltask`` exports."""
