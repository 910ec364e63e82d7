"""``.keras`` archives: a zip of ``config.json``, ``metadata.json`` and ``model.weights.h5``.

Nothing is extracted to disk, nothing is unpickled, and no class that the configuration names is
looked up: it is read as data.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterable, Sequence

from forensics.domain.run import CheckpointFormat
from forensics.errors import Damaged
from forensics.sources.checkpoints.checkpoint_format import Claim, OpenCheckpoint
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.keras_config import parse_json, settings
from forensics.sources.checkpoints.keras_weights import add_weights
from forensics.sources.checkpoints.libhdf5 import H5Content, read_h5
from forensics.sources.storage.blob import IN_MEMORY, Blob, BlobFile
from forensics.sources.storage.place import Place

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MAX_CONFIG = 16 << 20
_MAX_MEMBERS = 10_000
_MAX_INFLATED = 256 << 20
_PIECE = 1 << 20
_LOCAL_HEADER_BYTES = 30
# What zipfile and zlib raise on damaged archives.
_FAILURES = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, KeyError,
    IndexError, RuntimeError, NotImplementedError, OverflowError,
)  # fmt: skip


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
        claim = checkpoint.claim
        read_archive(checkpoint.blob(claim.name, claim.format.value), checkpoint.contents)


def read_archive(blob: Blob, contents: Contents) -> None:
    """Read an archive into `contents`.

    Raises
    ------
    Damaged
        It is no zip archive, holds a name twice, or its weights cannot be read. What was read until
        then is in `contents`.
    """
    try:
        with zipfile.ZipFile(BlobFile(blob, 0, blob.size)) as archive:
            members = _members(archive, blob.name)
            if _CONFIG in members:
                config = _inflate(archive, members[_CONFIG], _MAX_CONFIG, blob.name)
                contents.config.update(_settings(config, members[_CONFIG], blob.name, contents))
            if _WEIGHTS not in members:
                raise Damaged(blob.name, 0, "missing_member", f"the archive has no {_WEIGHTS}")
            config_of_model = dict(contents.config)
            add_weights(_weights(archive, members[_WEIGHTS], blob), contents)
            contents.config.update(config_of_model)
    except _FAILURES as error:
        raise Damaged(blob.name, 0, "bad_archive", f"the archive cannot be read: {error}") from None


def _members(archive: zipfile.ZipFile, path: str) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    listed = archive.infolist()
    if len(listed) > _MAX_MEMBERS:
        raise Damaged(path, 0, "limit", f"the archive has {len(listed)} members")
    for info in listed:
        if info.filename in members:
            detail = f"the archive holds {info.filename!r} twice"
            raise Damaged(path, info.header_offset, "duplicate_member", detail)
        if info.flag_bits & 1:
            raise Damaged(path, info.header_offset, "unsupported", "the archive is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            detail = f"{info.filename!r} is compressed by method {info.compress_type}"
            raise Damaged(path, info.header_offset, "unsupported", detail)
        members[info.filename] = info
    return members


def _inflate(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int, path: str) -> bytes:
    """Content of a member, its CRC-32 verified; never more than `most` bytes are held."""
    if info.file_size <= most:
        with archive.open(info) as member:
            data = member.read(most + 1)
        if len(data) == info.file_size:
            return data
        if len(data) < most:
            raise Damaged(path, info.header_offset, "bad_length", f"{info.filename!r} is cut off")
    detail = f"{info.filename!r} takes more than {most} bytes"
    raise Damaged(path, info.header_offset, "limit", detail)


def _settings(
    config: bytes, info: zipfile.ZipInfo, path: str, contents: Contents
) -> dict[str, object]:
    try:
        return settings(parse_json(config))
    except ValueError as error:
        detail = f"{info.filename!r} cannot be read: {error}"
        contents.fail(Damaged(path, info.header_offset, "bad_config", detail))
        return {}


def _weights(archive: zipfile.ZipFile, info: zipfile.ZipInfo, blob: Blob) -> H5Content:
    """Statistics of the weights: inflated in memory, or read in place when stored as they are."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size <= IN_MEMORY:
        most = IN_MEMORY if info.compress_type == zipfile.ZIP_STORED else _MAX_INFLATED
        return read_h5(_inflate(archive, info, most, blob.name), blob.name)
    with archive.open(info) as member:
        # Reading to the end verifies the CRC-32.
        while member.read(_PIECE):
            pass
    header = bytes(blob.read(info.header_offset, _LOCAL_HEADER_BYTES))
    name_bytes, extra_bytes = struct.unpack_from("<HH", header, 26)
    start = info.header_offset + _LOCAL_HEADER_BYTES + name_bytes + extra_bytes
    return read_h5(BlobFile(blob, start, info.file_size), blob.name)
