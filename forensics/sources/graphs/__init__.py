"""Graphs of TensorFlow, read as data: what they say about how a run was set up."""
