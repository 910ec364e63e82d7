"""Dataspaces: how many elements there are along which dimension."""

from __future__ import annotations

import math
from dataclasses import dataclass

from forensics.sources.checkpoints.hdf5.fields import Fields

_MAX_RANK = 32
"""Of libhdf5 (H5S_MAX_RANK)."""
_MAX_ELEMENTS = 1 << 60


@dataclass(frozen=True, slots=True)
class Dataspace:
    """A shape and how far it may grow; ``null`` where there is no element, not even one.

    A limit is None along an axis without one.
    """

    shape: tuple[int, ...]
    limits: tuple[int | None, ...] = ()
    null: bool = False

    @property
    def count(self) -> int:
        """Number of elements."""
        return 0 if self.null else math.prod(self.shape)


def read_dataspace(fields: Fields) -> Dataspace:
    """Read the dataspace that comes next.

    Raises
    ------
    Damaged
        It is none, or has more elements than any file.
    """
    version, rank, flags = fields.integer(1), fields.integer(1), fields.integer(1)
    if version not in (1, 2) or rank > _MAX_RANK or flags & ~1:
        raise fields.damaged("bad_shape", f"a dataspace in {fields.what} is none")
    kind = 1
    if version == 1:
        fields.zeros(5)
    else:
        kind = fields.integer(1)
        if kind > 2 or (kind != 1 and rank):
            raise fields.damaged("bad_shape", f"a dataspace in {fields.what} contradicts itself")
    shape = tuple(fields.length() for _ in range(rank))
    most = tuple(fields.length() for _ in shape) if flags & 1 else shape
    unlimited = (1 << 8 * fields.image.length_size) - 1
    limits = tuple(None if limit == unlimited else limit for limit in most)
    space = Dataspace(shape, limits, kind == 2)
    if any(have > limit for have, limit in zip(shape, most, strict=True)):
        raise fields.damaged("bad_shape", f"a dataspace in {fields.what} exceeds its own limits")
    if space.count > _MAX_ELEMENTS:
        raise fields.damaged("bad_shape", f"{shape} are more elements than any file holds")
    return space
