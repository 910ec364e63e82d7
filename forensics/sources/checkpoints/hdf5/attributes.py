"""Attributes: text that is attached to an object."""

from __future__ import annotations

from dataclasses import dataclass

from forensics.sources.checkpoints.hdf5.dataspace import Dataspace, read_dataspace
from forensics.sources.checkpoints.hdf5.datatype import Datatype, Text, read_datatype
from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.global_heap import GlobalHeap
from forensics.sources.checkpoints.hdf5.image import Image
from forensics.sources.checkpoints.hdf5.object_header import DATATYPE, Headers, Message

_MAX_TEXT = 16 << 20
_MAX_ITEMS = 1 << 20
_COMMITTED = 2


@dataclass(frozen=True, slots=True)
class Attribute:
    """A name and its text; of what is no text, nothing."""

    name: str
    text: tuple[str, ...]


class AttributeReader:
    """Reads attributes, and the datatypes that several objects share.

    Parameters
    ----------
    image : Image
        The file.
    headers : Headers
        Where committed datatypes are looked up.
    """

    def __init__(self, image: Image, headers: Headers) -> None:
        self._image, self._headers = image, headers
        self._heap = GlobalHeap(image)
        self._committed: dict[int, Datatype] = {}
        # By their bytes: most datasets of a file are of one datatype.
        self._known: dict[bytes, Datatype] = {}

    def read(self, fields: Fields) -> Attribute:
        """Read the attribute that a message holds."""
        version, flags = fields.integer(1), fields.integer(1)
        if version not in (1, 2, 3) or flags & ~3 or (version == 1 and flags):
            raise fields.damaged("bad_version", f"an attribute of {fields.what} is none")
        name_size, type_size, space_size = (fields.integer(2) for _ in range(3))
        if version == 3:
            fields.integer(1)
        name = _part(fields, name_size, version)
        datatype = self._datatype(_part(fields, type_size, version), shared=bool(flags & 1))
        space_fields = _part(fields, space_size, version)
        if flags & 2:
            raise fields.damaged("unsupported", f"{fields.what} shares a dataspace")
        text = self._text(fields, datatype, read_dataspace(space_fields))
        return Attribute(_clean(bytes(name.data)), text)

    def datatype(self, message: Message) -> Datatype:
        """Datatype of a message, be it committed under another name."""
        return self._datatype(message.fields, shared=message.shared)

    def _datatype(self, fields: Fields, *, shared: bool) -> Datatype:
        if not shared:
            spelt = bytes(fields.data[fields.at :])
            if spelt not in self._known:
                self._known[spelt] = read_datatype(fields)
            return self._known[spelt]
        version, kind = fields.integer(1), fields.integer(1)
        if version == 1:
            fields.zeros(6)
        if version not in (1, 2, 3) or (version > 1 and kind != _COMMITTED):
            raise fields.damaged("unsupported", f"{fields.what} shares a message in another way")
        address = fields.defined()
        if address not in self._committed:
            message = self._headers.read(address).first(DATATYPE)
            if message is None or message.shared:
                raise fields.damaged("bad_datatype", f"{fields.what} shares what is no datatype")
            self._committed[address] = read_datatype(message.fields)
        return self._committed[address]

    def _text(self, fields: Fields, datatype: Datatype, space: Dataspace) -> tuple[str, ...]:
        size = space.count * datatype.size
        if size > len(fields):
            raise fields.damaged(
                "bad_shape", f"an attribute of {fields.what} is longer than stored"
            )
        if datatype.text is None or space.count > _MAX_ITEMS:
            return ()
        if datatype.text is Text.FIXED:
            items = [fields.raw(datatype.size) for _ in range(space.count)]
        else:
            if datatype.size != 8 + self._image.offset_size:
                raise fields.damaged("bad_datatype", f"text of {fields.what} has no such reference")
            items = [self._referred(fields) for _ in range(space.count)]
        if sum(map(len, items)) > _MAX_TEXT:
            raise fields.damaged("limit", f"an attribute of {fields.what} is too long")
        return tuple(_clean(bytes(item)) for item in items)

    def _referred(self, fields: Fields) -> memoryview:
        """Text in the global heap; libhdf5 stores it up to its first NUL, so that none is in it."""
        item = self._heap.find(fields)
        if b"\0" in bytes(item).rstrip(b"\0"):
            raise fields.damaged("bad_text", f"a text of {fields.what} has zeros in it")
        return item


def _part(fields: Fields, size: int, version: int) -> Fields:
    """Fields of a part; in version 1 parts are padded to eight bytes."""
    address = fields.address + fields.at
    part = Fields(fields.image, address, fields.raw(size), fields.what)
    if version == 1:
        fields.raw(-size % 8)
    return part


def _clean(text: bytes) -> str:
    """Text up to its first NUL; what is no UTF-8 is spelt out."""
    return text.partition(b"\0")[0].decode("utf-8", "backslashreplace")
