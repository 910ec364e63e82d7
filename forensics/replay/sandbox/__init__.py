"""The child process, its walls, and the watch over it."""
