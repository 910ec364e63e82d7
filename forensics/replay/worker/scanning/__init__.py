"""Batches of shuffled data: all of them from one state, and in other orders."""
