"""Reports: what a person, a file or a CI system is told of a run, all from one summary of the run directory."""
