"""The case of a replay from whatever its source is, and the state that it starts from."""
