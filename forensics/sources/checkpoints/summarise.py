"""Statistics of the tensors of an open checkpoint, each read once."""

from __future__ import annotations

import numpy as np

from forensics.domain.run import TensorKind, TensorStats
from forensics.errors import Damaged
from forensics.sources.checkpoints.checkpoint_format import OpenCheckpoint
from forensics.sources.checkpoints.dtypes import numpy_dtype
from forensics.sources.checkpoints.stored_tensor import StoredTensor
from forensics.sources.checkpoints.tensor_stats import TensorSummary, counted_only


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
    for tensor in checkpoint.stored:
        try:
            contents.tensors.append(summarise(tensor))
        except Damaged as error:
            contents.fail(error)
        except OSError as error:
            why = error.strerror or type(error).__name__
            contents.lose(checkpoint.claim.name, "read_error", f"{tensor.name!r}: {why}")
    checkpoint.judge(contents)
