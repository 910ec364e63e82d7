"""A model that Keras saved as a folder, and the texts that folders and archives both have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from forensics.domain.run import CheckpointFormat
from forensics.errors import Damaged
from forensics.sources.checkpoints.checkpoint_format import Claim, OpenCheckpoint
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.hdf5.file import read_h5
from forensics.sources.checkpoints.keras_config import parse_json, saved_with, settings
from forensics.sources.checkpoints.keras_weights import add_weights
from forensics.sources.checkpoints.parts import Part
from forensics.sources.storage.place import Place

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MAX_TEXT = 16 << 20


class KerasFolder:
    """Folders that ``model.save(folder, zipped=False)`` writes, to the hub as well."""

    def find(self, names: Sequence[str], place: Place) -> Iterable[Claim]:
        """Claim weights beside which a configuration lies."""
        there = set(names)
        for name in names:
            folder, _, file = name.rpartition("/")
            beside = [f"{folder}/{text}" if folder else text for text in (CONFIG, METADATA)]
            if file == WEIGHTS and beside[0] in there:
                files = (name, *(text for text in beside if text in there))
                yield Claim(folder or name, CheckpointFormat.KERAS_ARCHIVE, files)

    def fill(self, checkpoint: OpenCheckpoint) -> None:
        """Read configuration and weights."""
        claim, contents = checkpoint.claim, checkpoint.contents
        contents.verifiable = False
        weights, *texts = (checkpoint.blob(name, claim.format.value) for name in claim.files)
        for blob in texts:
            if blob.size > _MAX_TEXT:
                detail = f"the file takes more than {_MAX_TEXT} bytes"
                contents.fail(Damaged(blob.name, 0, "limit", detail))
            else:
                text = bytes(blob.read(0, blob.size))
                add_settings(blob.name.rpartition("/")[2], text, blob.name, 0, contents)
        add_weights(read_h5(Part(weights)), checkpoint)


def add_settings(kind: str, text: bytes, path: str, offset: int, contents: Contents) -> None:
    """Add what ``config.json`` or ``metadata.json`` says; what is no JSON is a failure."""
    try:
        parsed = parse_json(text)
    except ValueError as error:
        detail = f"{kind!r} cannot be read: {error}"
        contents.fail(Damaged(path, offset, "bad_config", detail))
        return
    contents.config.update(settings(parsed) if kind == CONFIG else saved_with(parsed))
