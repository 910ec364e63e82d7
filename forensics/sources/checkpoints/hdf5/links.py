"""Links: names in a group and what they lead to."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from forensics.sources.checkpoints.hdf5.fields import Fields

_HARD, _SOFT, _EXTERNAL = 0, 1, 64


class LinkKind(Enum):
    """Where a link leads."""

    HARD = "hard"
    SOFT = "soft"
    EXTERNAL = "external"


class Link(NamedTuple):
    """A link; ``address`` of the object's header, of a hard link only."""

    name: bytes
    kind: LinkKind
    address: int


def read_link(fields: Fields) -> Link:
    """Read a link message.

    Raises
    ------
    Damaged
        It is none, or of a kind that applications define for themselves.
    """
    fields.expect(b"\1", "bad_version")
    flags = fields.integer(1)
    if flags & ~31:
        raise fields.damaged("bad_reserved", f"reserved bits of {fields.what} are not zero")
    kind = fields.integer(1) if flags & 8 else _HARD
    if flags & 4:
        fields.raw(8)
    if flags & 16 and fields.integer(1) > 1:
        raise fields.damaged("bad_name", f"a name in {fields.what} is in no known encoding")
    name = bytes(fields.raw(fields.integer(1 << (flags & 3))))
    if kind == _HARD:
        return Link(name, LinkKind.HARD, fields.defined())
    if kind in (_SOFT, _EXTERNAL):
        return Link(name, LinkKind.SOFT if kind == _SOFT else LinkKind.EXTERNAL, 0)
    raise fields.damaged("unsupported", f"a link in {fields.what} is of an unknown kind")
