"""Options of the shipped benchmarks are registered here; the plugin's own are in pytest_rltask.options."""
