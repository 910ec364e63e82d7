"""The first harmful bad value of a step, from the trace or from another instrument."""
