"""Object headers: the messages that say what an object is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.image import Image

DATASPACE, LINK_INFO, DATATYPE, LINK, EXTERNAL, LAYOUT, GROUP_INFO = 1, 2, 3, 6, 7, 8, 10
FILTERS, ATTRIBUTE, SYMBOL_TABLE, ATTRIBUTE_INFO = 11, 12, 17, 21
_CONTINUATION, TREE_ROOMS, _REFERENCES = 16, 19, 22
_LAST_KNOWN = 24
_SHARED = 2
_FAILS_IF_UNKNOWN = 0x80
_MAX_BLOCKS = 1 << 16


@dataclass(frozen=True, slots=True)
class Message:
    """One message: its type, and its fields."""

    type: int
    shared: bool
    fields: Fields


@dataclass(slots=True)
class Header:
    """Messages of an object, and how many links lead to it."""

    address: int
    references: int = 1
    messages: list[Message] = field(default_factory=list)

    def first(self, kind: int) -> Message | None:
        """Return the message of one type, None where there is none."""
        return next((m for m in self.messages if m.type == kind), None)

    def all(self, kind: int) -> Iterator[Message]:
        """Messages of one type."""
        return (m for m in self.messages if m.type == kind)


class Headers:
    """Object headers by address. Those of committed datatypes, which objects share, are kept."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._found: dict[int, Header] = {}

    def read(self, address: int) -> Header:
        """Read an object's header and all of its continuations."""
        header = self._found.get(address)
        if header is None:
            header = read_header(self._image, address)
            if header.first(DATATYPE) is not None and header.first(LAYOUT) is None:
                self._found[address] = header
        return header


def read_header(image: Image, address: int) -> Header:
    """Read an object's header and all of its continuations."""
    what = f"the object header at {address}"
    if bytes(image.read(address, 4, what)) == b"OHDR":
        header = _newer(image, address, what)
    else:
        header = _older(image, address, what)
    for message in header.all(_REFERENCES):
        message.fields.zeros(1)
        header.references = message.fields.integer(4)
    return header


def _older(image: Image, address: int, what: str) -> Header:
    fields = Fields(image, address, image.take(address, 16, what), what)
    fields.expect(b"\1", "bad_version")
    fields.zeros(1)
    fields.raw(2)  # The number of messages, which early releases of libhdf5 got wrong.
    references, size = fields.integer(4), fields.integer(4)
    header = Header(address, references)
    blocks = [(address + 16, size)]
    for start, length in blocks:
        data = image.take(start, length, what)
        block = Fields(image, start, data, what)
        while len(block):
            message = _older_message(block)
            header.messages.append(message)
            if message.type == _CONTINUATION:
                blocks.append(_continuation(message, blocks))
    return header


def _older_message(block: Fields) -> Message:
    kind, size, flags = block.integer(2), block.integer(2), block.integer(1)
    block.zeros(3)
    if size % 8:
        raise block.damaged("bad_length", f"a message of {block.what} is not aligned")
    return _message(block, kind, size, flags)


def _newer(image: Image, address: int, what: str) -> Header:
    start = Fields(image, address, image.read(address, min(34, image.size - address), what), what)
    start.expect(b"OHDR\2")
    flags = start.integer(1)
    if flags & 0xC0:
        raise start.damaged("bad_reserved", f"reserved bits of {what} are not zero")
    start.raw((16 if flags & 32 else 0) + (4 if flags & 16 else 0))
    size = start.integer(1 << (flags & 3))
    header = Header(address)
    blocks = [(address, start.at + size + 4)]
    skipped = start.at
    for begin, length in blocks:
        block = Fields(image, begin, image.take(begin, length, what), what)
        if begin != address:
            block.expect(b"OCHK")
            skipped = 4
        _verify(block)
        block.at = skipped
        block.data = block.data[:-4]
        _newer_messages(block, flags, header, blocks)
    return header


def _verify(block: Fields) -> None:
    if len(block.data) < 8:
        raise block.damaged("bad_length", f"{block.what} has no room for a checksum")
    block.at = len(block.data) - 4
    block.verify()


def _newer_messages(
    block: Fields, flags: int, header: Header, blocks: list[tuple[int, int]]
) -> None:
    ordered = 2 if flags & 4 else 0
    # What is too short for a message is a gap.
    while len(block) >= 4 + ordered:
        kind, size, message_flags = block.integer(1), block.integer(2), block.integer(1)
        block.raw(ordered)
        message = _message(block, kind, size, message_flags)
        header.messages.append(message)
        if message.type == _CONTINUATION:
            blocks.append(_continuation(message, blocks))


def _message(block: Fields, kind: int, size: int, flags: int) -> Message:
    if kind > _LAST_KNOWN and flags & _FAILS_IF_UNKNOWN:
        raise block.damaged("unsupported", f"{block.what} needs messages of type {kind}")
    start = block.address + block.at
    return Message(
        kind, bool(flags & _SHARED), Fields(block.image, start, block.raw(size), block.what)
    )


def _continuation(message: Message, blocks: list[tuple[int, int]]) -> tuple[int, int]:
    block = message.fields.defined(), message.fields.length()
    if block in blocks or len(blocks) > _MAX_BLOCKS:
        raise message.fields.damaged("cycle", f"{message.fields.what} continues in itself")
    return block
