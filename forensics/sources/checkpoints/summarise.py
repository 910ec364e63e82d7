"""Statistics of the tensors of an open checkpoint, each read once."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from forensics.domain.run import TensorKind, TensorStats
from forensics.errors import Damaged
from forensics.sources.checkpoints import tensor_tiers
from forensics.sources.checkpoints.checkpoint_format import OpenCheckpoint
from forensics.sources.checkpoints.dtypes import numpy_dtype
from forensics.sources.checkpoints.stored_tensor import StoredTensor
from forensics.sources.checkpoints.tensor_stats import TensorSummary, counted_only

_LARGE = 64 << 20
"""Bytes from which more than one thread is worth it."""
_THREADS = 4
"""At most: memory is the limit then."""


def expect(tensors: Iterable[StoredTensor]) -> None:
    """Say what is going to be summarised, so that compiled code can be loaded where it pays."""
    tensor_tiers.expect(sum(tensor.elements for tensor in tensors if tensor.numeric))


def summarise(tensor: StoredTensor) -> TensorStats:
    """Statistics of one tensor; of kind weight until somebody knows better.

    Raises
    ------
    Damaged
        It cannot be read, or fails its checksum.
    """
    if not tensor.numeric:
        for _ in tensor.pieces():
            pass
        return counted_only(
            tensor.name, TensorKind.OTHER, tensor.shape, tensor.dtype, tensor.elements
        )
    dtype, summary = numpy_dtype(tensor.dtype), TensorSummary()
    for piece in tensor.pieces():
        summary.add(np.frombuffer(piece, dtype))
    return summary.finish(tensor.name, TensorKind.WEIGHT, tensor.shape, tensor.dtype)


def summarise_all(checkpoint: OpenCheckpoint) -> None:
    """Add statistics of every tensor that can be read to the contents; record what cannot."""
    contents = checkpoint.contents
    expect(checkpoint.stored)
    for found in _summaries(checkpoint):
        if isinstance(found, Damaged):
            contents.fail(found)
        else:
            contents.tensors.append(found)
    checkpoint.judge(contents)


def _summaries(checkpoint: OpenCheckpoint) -> Iterable[TensorStats | Damaged]:
    """Statistics in the order of the tensors, in several threads where that is allowed and pays."""

    def attempt(tensor: StoredTensor) -> TensorStats | Damaged:
        try:
            return summarise(tensor)
        except Damaged as error:
            return error
        except OSError as error:
            why = f"{tensor.name!r} cannot be read: {error.strerror or type(error).__name__}"
            return Damaged(checkpoint.claim.name, 0, "read_error", why)

    # Often two hardware threads share a core: together they take as long, and more of it.
    threads = min(_THREADS, (os.cpu_count() or 1) // 2)
    alone = threads <= 1 or not checkpoint.parallel or checkpoint.place.local is None
    if alone or _bytes(checkpoint.stored) < _LARGE:
        yield from map(attempt, checkpoint.stored)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(attempt, checkpoint.stored)


def _bytes(tensors: Iterable[StoredTensor]) -> int:
    return sum(t.elements * numpy_dtype(t.dtype).itemsize for t in tensors if t.numeric)
