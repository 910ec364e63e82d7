"""The superblock: where the file begins, how wide its addresses are, where its root group lies."""

from __future__ import annotations

from dataclasses import dataclass

from forensics.errors import Damaged
from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.image import Image
from forensics.sources.checkpoints.hdf5.object_header import TREE_ROOMS, read_header

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_LONGEST = 128
_WIDTHS = (2, 4, 8)
_LEAF_K, _INTERNAL_K = 4, 16
"""Where a newer file does not say otherwise (H5Fprivate.h)."""
_OPEN_FOR_WRITING = 0b101


@dataclass(frozen=True, slots=True)
class Superblock:
    """What the superblock says.

    Attributes
    ----------
    root : int
        Address of the root group's object header.
    leaf_k, internal_k : int
        Half of the entries that nodes of older groups have room for.
    failures : tuple of Damaged
        What is wrong with the file as a whole, although it can be read.
    """

    root: int
    leaf_k: int
    internal_k: int
    failures: tuple[Damaged, ...]


def read_superblock(image: Image) -> Superblock:
    """Find the superblock, and set the base address and the widths of `image`.

    Raises
    ------
    Damaged
        There is none, or it is broken.
    """
    image.base = _find(image)
    data = image.read(0, min(_LONGEST, image.size), "the superblock")
    fields = Fields(image, 0, data, "superblock")
    fields.expect(SIGNATURE)
    version = fields.integer(1)
    if version in (0, 1):
        return _older(fields, version)
    if version in (2, 3):
        return _newer(fields, version)
    raise fields.damaged("unsupported", f"superblocks of version {version} are not known")


def _find(image: Image) -> int:
    """Offset of the signature: 0, 512, 1024, 2048, ..."""
    offset = 0
    while offset + len(SIGNATURE) <= image.size:
        if image.read(offset, len(SIGNATURE), "the signature").tobytes() == SIGNATURE:
            return offset
        offset = offset * 2 or 512
    raise image.damaged(0, "bad_signature", "this is no HDF5 file: it has no superblock")


def _older(fields: Fields, version: int) -> Superblock:
    image = fields.image
    fields.zeros(4)
    _widths(fields)
    fields.zeros(1)
    leaf_k, internal_k = fields.integer(2), fields.integer(2)
    fields.raw(4)
    if version == 1:
        image.chunk_k = fields.integer(2)
        fields.zeros(2)
    _base(fields)
    fields.place()
    end = fields.defined()
    if fields.place() is not None:
        raise fields.damaged("unsupported", "the file is one of several (a driver block)")
    # The entry of the root group: no name, address, and addresses once more.
    fields.place()
    root = fields.defined()
    fields.raw(24)
    image.claim(0, fields.at, "the superblock")
    if not leaf_k or not internal_k or not image.chunk_k:
        raise fields.damaged("bad_length", "the nodes of groups have no room for entries")
    return Superblock(root, leaf_k, internal_k, _end(image, end))


def _newer(fields: Fields, version: int) -> Superblock:
    image = fields.image
    _widths(fields)
    flags = fields.integer(1)
    _base(fields)
    extension, end, root = fields.place(), fields.defined(), fields.defined()
    fields.verify()
    image.claim(0, fields.at, "the superblock")
    failures = _end(image, end)
    if version == 3 and flags & _OPEN_FOR_WRITING:
        detail = "the file was not closed by its writer"
        failures += (image.damaged(11, "not_closed", detail),)
    leaf_k, internal_k = _rooms(image, extension)
    return Superblock(root, leaf_k, internal_k, failures)


def _rooms(image: Image, extension: int | None) -> tuple[int, int]:
    """Room of the nodes of older groups, which newer files may hold too."""
    message = None if extension is None else read_header(image, extension).first(TREE_ROOMS)
    if message is None:
        return _LEAF_K, _INTERNAL_K
    fields = message.fields
    fields.expect(b"\0", "bad_version")
    image.chunk_k, internal_k, leaf_k = fields.integer(2), fields.integer(2), fields.integer(2)
    if not image.chunk_k or not internal_k or not leaf_k:
        raise fields.damaged("bad_length", "the nodes of groups have no room for entries")
    return leaf_k, internal_k


def _widths(fields: Fields) -> None:
    image = fields.image
    image.offset_size, image.length_size = fields.integer(1), fields.integer(1)
    if image.offset_size not in _WIDTHS or image.length_size not in _WIDTHS:
        raise fields.damaged("bad_width", "addresses of this width are not known")


def _base(fields: Fields) -> None:
    """Read the base address, which is where the superblock was found."""
    if fields.defined() != fields.image.base:
        raise fields.damaged("bad_address", "the base address is not where the file begins")


def _end(image: Image, end: int) -> tuple[Damaged, ...]:
    """Compare the end that the superblock states: libhdf5 cuts the file there as it closes it.

    It counts from the beginning of the file, not from the base address.
    """
    end -= image.base
    if end > image.size:
        detail = f"the file ends at {image.size} of {end} bytes"
        return (image.damaged(image.size, "truncated", detail),)
    if end < image.size:
        detail = f"the file goes on after its end at {end}: it was not closed, or added to"
        return (image.damaged(end, "trailing_bytes", detail),)
    return ()
