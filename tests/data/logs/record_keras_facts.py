"""What was planted in the recordings of Keras beside this file."""

from __future__ import annotations

BATCHES, BATCH, EPOCHS = 12, 4, 4
"""Batches of an epoch, samples of a batch, epochs that were asked for."""
BAD = 2 * BATCHES + 7
"""The loss is NaN from this batch on, counted from 0 over all epochs."""
