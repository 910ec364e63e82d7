"""Bytes to a `Run`: event files, checkpoints, recordings. Nothing found in a file is executed."""
