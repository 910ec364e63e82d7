"""Checkpoints of every format to statistics; no tensor is kept."""
