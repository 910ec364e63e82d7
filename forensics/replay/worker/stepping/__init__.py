"""Steps of the case: run, repeated, searched for the failing one."""
