"""All objects of an HDF5 file: its datasets as tensors that can be read, and texts about them.

No link is followed but hard ones, nothing outside the file is opened. What is broken is left out
and said; no byte belongs to two structures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from forensics.errors import Damaged
from forensics.sources.checkpoints.hdf5.attributes import AttributeReader
from forensics.sources.checkpoints.hdf5.dataset import read_dataset
from forensics.sources.checkpoints.hdf5.datatype import OPAQUE
from forensics.sources.checkpoints.hdf5.fields import Fields
from forensics.sources.checkpoints.hdf5.image import Image, Source
from forensics.sources.checkpoints.hdf5.links import Link, LinkKind
from forensics.sources.checkpoints.hdf5.newer_group import attribute_fields, read_newer_group
from forensics.sources.checkpoints.hdf5.object_header import (
    DATASPACE,
    DATATYPE,
    GROUP_INFO,
    LAYOUT,
    LINK,
    LINK_INFO,
    SYMBOL_TABLE,
    Header,
    Headers,
)
from forensics.sources.checkpoints.hdf5.older_group import Room, read_older_group
from forensics.sources.checkpoints.hdf5.superblock import read_superblock
from forensics.sources.checkpoints.stored_tensor import StoredTensor

_MAX_OBJECTS = 30_000
_MAX_DEPTH = 100
_MAX_FAILURES = 1000
_GROUP_MESSAGES = (SYMBOL_TABLE, LINK_INFO, LINK, GROUP_INFO)
Attributes = dict[str, tuple[str, ...]]


@dataclass(slots=True)
class H5Content:
    """What a file holds.

    Attributes
    ----------
    tensors : list of StoredTensor
        Datasets by path, in the order of a walk by name.
    attributes : dict
        Path of an object (empty for the root) to its texts by name.
    root : frozenset of str
        Names in the root group.
    opaque : dict
        Path of a tensor whose elements have no numbers to their bytes.
    failures : list of Damaged
        What was left out, or cannot be trusted.
    lost : list of Damaged
        Names of links that are no more: lost, or removed by somebody. Keras removes none.
    """

    tensors: list[StoredTensor] = field(default_factory=list)
    attributes: dict[str, Attributes] = field(default_factory=dict)
    root: frozenset[str] = frozenset()
    opaque: dict[str, int] = field(default_factory=dict)
    failures: list[Damaged] = field(default_factory=list)
    lost: list[Damaged] = field(default_factory=list)

    def join(self, other: H5Content) -> None:
        """Add what another file holds of the same model."""
        self.tensors.extend(other.tensors)
        for path, texts in other.attributes.items():
            self.attributes[path] = {**self.attributes.get(path, {}), **texts}
        self.root |= other.root
        self.opaque.update(other.opaque)
        self.failures.extend(other.failures)
        self.lost.extend(other.lost)

    def text(self, path: str, name: str) -> str:
        """Return an attribute that is one text; empty where it is missing or another thing."""
        found = self.attributes.get(path, {}).get(name, ())
        return found[0] if len(found) == 1 else ""


def read_root(source: Source) -> H5Content:
    """Read names and texts of the root group alone; raises as `read_h5` does."""
    walk, root = _begun(source)
    walk.run(root, most=0)
    return walk.content


def read_h5(source: Source) -> H5Content:
    """Read an HDF5 file.

    Parameters
    ----------
    source : Source
        Its bytes.

    Returns
    -------
    H5Content
        Its tensors must be read before `source` is closed.

    Raises
    ------
    Damaged
        It is no HDF5 file, or its superblock is broken.
    """
    walk, root = _begun(source)
    walk.run(root, _MAX_DEPTH)
    walk.conclude()
    return walk.content


def _begun(source: Source) -> tuple[_Walk, int]:
    """Begin a walk; it starts at the address that comes with it."""
    image = Image(source)
    superblock = read_superblock(image)
    walk = _Walk(image, Room(superblock.leaf_k, superblock.internal_k))
    walk.content.failures.extend(superblock.failures)
    return walk, superblock.root


@dataclass(slots=True)
class _Object:
    """An object that was met: where, how many links should lead to it, how many did."""

    path: str
    stated: int
    found: int = 1


class _Walk:
    """Progress through a file."""

    def __init__(self, image: Image, room: Room) -> None:
        self.content = H5Content()
        self._image, self._room = image, room
        self._headers = Headers(image)
        self._attributes = AttributeReader(image, self._headers)
        self._objects: dict[int, _Object] = {}

    def run(self, root: int, most: int) -> None:
        """Visit what lies below the root group; of what is deeper than `most` only its links."""
        waiting = [("", root, 0)]
        while waiting:
            path, address, depth = waiting.pop()
            try:
                below = self._visit(path, address)
            except Damaged as error:
                self._fail(error)
                if error.kind == "limit" and len(self._objects) >= _MAX_OBJECTS:
                    return
                continue
            if depth == 0:
                self.content.root = frozenset(name for name, _ in below)
            if depth < most:
                waiting.extend((*item, depth + 1) for item in reversed(below))
            elif most and below:
                why = f"groups in {path!r} are more than {most} deep"
                self._fail(self._image.damaged(address, "limit", why))

    def _fail(self, error: Damaged) -> None:
        if len(self.content.failures) < _MAX_FAILURES:
            self.content.failures.append(error)

    def _visit(self, path: str, address: int) -> list[tuple[str, int]]:
        """Read one object; return what is in it if it is a group."""
        known = self._objects.get(address)
        if known is not None:
            known.found += 1
            return []
        if len(self._objects) >= _MAX_OBJECTS:
            detail = f"the file has more than {_MAX_OBJECTS} objects"
            raise self._image.damaged(address, "limit", detail)
        header = self._headers.read(address)
        self._objects[address] = _Object(path, header.references)
        attributes = self._read_attributes(header, path)
        if header.first(LAYOUT) is not None or header.first(DATASPACE) is not None:
            dtype = attributes.get("dtype", ())
            named = dtype[0] if dtype else None
            tensor, size = read_dataset(self._image, header, self._attributes, path, named)
            self.content.tensors.append(tensor)
            if tensor.dtype == OPAQUE:
                self.content.opaque[path] = size
            return []
        if any(header.first(kind) is not None for kind in _GROUP_MESSAGES):
            return list(self._below(self._links(header, path), path))
        if header.first(DATATYPE) is None:
            raise self._image.damaged(
                address, "missing_message", f"{path!r} does not say what it is"
            )
        # A committed datatype: objects that use it count as links.
        self._objects[address].stated = 0
        return []

    def _links(self, header: Header, path: str) -> list[Link]:
        what = f"the group {path!r}"
        table = header.first(SYMBOL_TABLE)
        if table is not None:
            links, lost = read_older_group(self._image, table.fields, self._room, what)
            if len(self.content.lost) < _MAX_FAILURES:
                self.content.lost.extend(lost)
            return links
        return read_newer_group(self._image, header, what)

    def _below(self, links: list[Link], path: str) -> Iterator[tuple[str, int]]:
        for link in links:
            name = link.name.decode("utf-8", "backslashreplace")
            if name != link.name.decode("utf-8", "replace") or not name.isprintable():
                detail = f"{name!r} in {path!r} is no text"
                self._fail(self._image.damaged(link.address, "bad_name", detail))
            full = f"{path}/{name}" if path else name
            if not link.name or b"/" in link.name or b"\0" in link.name:
                self._fail(self._image.damaged(link.address, "bad_name", f"{full!r} is no name"))
            elif link.kind is not LinkKind.HARD:
                detail = f"{full!r} is a link, it was not followed"
                self._fail(self._image.damaged(0, "refused_link", detail))
            else:
                yield full, link.address

    def _read_attributes(self, header: Header, path: str) -> Attributes:
        """Texts of an object; a broken one does not keep its object from being read."""
        found: Attributes = {}
        try:
            for fields in attribute_fields(self._image, header, repr(path)):
                self._add_attribute(fields, found)
        except Damaged as error:
            self._fail(error)
        if found:
            self.content.attributes[path] = found
        return found

    def _add_attribute(self, fields: Fields, found: Attributes) -> None:
        try:
            attribute = self._attributes.read(fields)
        except Damaged as error:
            self._fail(error)
        else:
            if attribute.text:
                found[attribute.name] = attribute.text

    def conclude(self) -> None:
        """Leave out tensors whose bytes are claimed twice; compare the numbers of links."""
        distrusted = set()
        for one, other in self._image.claimed_twice():
            distrusted |= {one.owner, other.owner}
            detail = f"{one.owner} and {other.owner} lie on top of each other"
            self._fail(self._image.damaged(other.start, "claimed_twice", detail))
        tensors = self.content.tensors
        self.content.tensors = [t for t in tensors if repr(t.name) not in distrusted]
        if self.content.failures:
            return
        for address, item in self._objects.items():
            if item.stated and item.found != item.stated:
                detail = f"{item.found} links lead to {item.path!r}, which has {item.stated}"
                self._fail(self._image.damaged(address, "bad_link_count", detail))
