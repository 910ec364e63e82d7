"""``.keras`` archives: a zip of ``config.json``, ``metadata.json`` and ``model.weights.h5``.

Nothing is extracted to disk, nothing is unpickled, and no class that the configuration names is
looked up: it is read as data. Keras stores the weights as they are, so that they are read in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from forensics.domain.run import CheckpointFormat
from forensics.errors import Damaged
from forensics.sources.checkpoints.checkpoint_format import Claim, OpenCheckpoint
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.hdf5.file import H5Content, read_h5
from forensics.sources.checkpoints.keras_model import CONFIG, METADATA, WEIGHTS, add_settings
from forensics.sources.checkpoints.keras_shards import MAX_MAP, SUFFIX, check_total, join, parse_map
from forensics.sources.checkpoints.keras_weights import add_weights
from forensics.sources.checkpoints.zip_directory import Member, leading_members, read_directory
from forensics.sources.checkpoints.zip_member import member_bytes, open_member
from forensics.sources.storage.blob import Blob
from forensics.sources.storage.place import Place

_MAX_TEXT = 16 << 20
_MAX_INFLATED = 256 << 20


class KerasArchive:
    """Files named ``.keras``."""

    def find(self, names: Sequence[str], place: Place) -> Iterable[Claim]:
        """Claim every file of that name."""
        return [
            Claim(name, CheckpointFormat.KERAS_ARCHIVE, (name,))
            for name in names
            if name.lower().endswith(".keras")
        ]

    def fill(self, checkpoint: OpenCheckpoint) -> None:
        """Read configuration and weights."""
        claim, contents = checkpoint.claim, checkpoint.contents
        blob = checkpoint.blob(claim.name, claim.format.value)
        try:
            directory = read_directory(blob)
        except Damaged:
            # The directory comes last: of an archive that was cut off, the beginning is there.
            _add_texts(blob, leading_members(blob), contents)
            raise
        for failure in directory.failures:
            contents.fail(failure)
        _add_texts(blob, directory.members, contents)
        content = _weights(blob, directory.members, contents)
        add_weights(content, checkpoint)


def _add_texts(blob: Blob, members: Mapping[str, Member], contents: Contents) -> None:
    for name in (CONFIG, METADATA):
        if name in members:
            try:
                text = member_bytes(blob, members[name], _MAX_TEXT)
                add_settings(name, text, blob.name, members[name].header, contents)
            except Damaged as error:
                contents.fail(error)


def _weights(blob: Blob, members: Mapping[str, Member], contents: Contents) -> H5Content:
    """Read the weights of an archive, in one member or in several that a map lists."""
    if WEIGHTS in members:
        return read_h5(open_member(blob, members[WEIGHTS], _MAX_INFLATED))
    maps = [name for name in members if name.lower().endswith(SUFFIX)]
    if len(maps) != 1:
        raise Damaged(blob.name, 0, "missing_member", f"the archive has no {WEIGHTS}")
    shards = parse_map(member_bytes(blob, members[maps[0]], MAX_MAP), maps[0])
    whole = H5Content()
    for shard in shards.shards:
        if shard in members:
            part = read_h5(open_member(blob, members[shard], _MAX_INFLATED))
            join(whole, part, shard, shards, contents)
        else:
            detail = f"{maps[0]} lists {shard}, and the archive does not hold it"
            contents.lose(blob.name, "missing_shard", detail)
    check_total(whole, shards, contents)
    return whole
