"""Replay: run the failing step again in a child, and say which op made the first bad value."""
