"""From the op that failed to a script of its own that fails with the same op."""
