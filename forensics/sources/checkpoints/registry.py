"""The formats of checkpoints that are read, in the order in which they claim files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle import TensorBundle
from forensics.sources.checkpoints.checkpoint_format import (
    Claim,
    Format,
    OpenCheckpoint,
    Unopened,
)
from forensics.sources.checkpoints.keras_archive import KerasArchive
from forensics.sources.checkpoints.keras_model import KerasFolder
from forensics.sources.checkpoints.keras_shards import ShardedWeights
from forensics.sources.checkpoints.keras_weights import WeightsFile
from forensics.sources.checkpoints.orbax.checkpoint import Orbax
from forensics.sources.checkpoints.recorded_state import RecordedState
from forensics.sources.checkpoints.safetensors_files import Safetensors
from forensics.sources.checkpoints.saved_model import SavedModel
from forensics.sources.checkpoints.saver_v1 import SaverV1
from forensics.sources.storage.place import Place

FORMATS: tuple[Format, ...] = (
    Orbax(),
    SavedModel(),
    ShardedWeights(),
    TensorBundle(),
    KerasArchive(),
    KerasFolder(),
    RecordedState(),
    WeightsFile(),
    Safetensors(),
    SaverV1(),
)
"""What consists of several files comes first, so that none of them is read by itself."""


def find_checkpoints(names: Sequence[str], place: Place) -> Iterator[tuple[Format, Claim]]:
    """Claims of all formats; no file is part of two."""
    left = sorted(names)
    for form in FORMATS:
        claims = list(form.find(left, place))
        taken = {file for claim in claims for file in claim.files}
        left = [name for name in left if name not in taken]
        for claim in claims:
            yield form, claim


def open_checkpoint(place: Place, form: Format, claim: Claim) -> OpenCheckpoint:
    """Open a checkpoint and list its tensors; close it after use.

    Returns
    -------
    OpenCheckpoint
        What is broken is in its ``contents``.

    Raises
    ------
    NotACheckpoint
        It is none.
    Unopened
        It cannot be opened, or not be read at all.
    """
    checkpoint = OpenCheckpoint(place, claim)
    try:
        form.fill(checkpoint)
    except Damaged as error:
        checkpoint.contents.fail(error)
    except OSError as error:
        checkpoint.stack.close()
        raise Unopened(claim.files[0], claim.format.value, error) from error
    except BaseException:
        checkpoint.stack.close()
        raise
    return checkpoint
