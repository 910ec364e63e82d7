"""Datasets of an HDF5 file and their statistics, read in bounded pieces.

The format has no checksums and libhdf5 follows what a file tells it to: soft and external links,
external and virtual storage and filters from plug-ins are refused here, and what is declared must
be in proportion to what is stored. A file that makes libhdf5 fail is damaged, never an exception.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forensics.domain.run import TensorKind, TensorStats
from forensics.errors import Damaged
from forensics.sources.checkpoints.tensor_stats import TensorSummary, counted_only, is_numeric

if TYPE_CHECKING:
    import h5py

FAILURES = (
    OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, ArithmeticError,
    MemoryError,
)  # fmt: skip
"""What h5py raises on damaged files."""

_PIECE = 4 << 20
"""Bytes of a dataset that are read at once."""
_MAX_CHUNK = 256 << 20
_MAX_OBJECTS = 1_000_000
_MAX_ATTRIBUTE = 16 << 20
_DEFLATE_RATIO = 1032
"""No deflate stream expands further (zlib's technical details)."""
_BUILT_IN_FILTERS = frozenset(range(1, 7))
"""deflate, shuffle, fletcher32, szip, n-bit, scale-offset; others are loaded from plug-ins."""


@dataclass(slots=True)
class H5Content:
    """Datasets by path, in the file's order; names that Keras gave to what may be optimizers."""

    tensors: list[TensorStats] = field(default_factory=list)
    group_names: dict[str, str] = field(default_factory=dict)
    root: frozenset[str] = frozenset()
    attributes: dict[str, str] = field(default_factory=dict)
    failures: list[Damaged] = field(default_factory=list)


def read_h5(source: bytes | io.RawIOBase, path: str) -> H5Content:
    """Read an HDF5 file.

    Parameters
    ----------
    source : bytes or raw file
        Its content.
    path : str
        What to call it in errors.

    Returns
    -------
    H5Content
        Every dataset is of kind weight; what could not be read is in ``failures``.

    Raises
    ------
    Damaged
        It cannot be opened at all.
    """
    import h5py

    content = H5Content()
    try:
        opened: Any = h5py.h5f.open_file_image(source) if isinstance(source, bytes) else source
        with h5py.File(opened, "r") as file:
            _walk(file, path, content)
            content.root = frozenset(file.keys())
            for name in ("model_config", "training_config", "layer_names"):
                if name in file.attrs:
                    content.attributes[name] = _text_attribute(file, name)
    except FAILURES as error:
        raise Damaged(path, 0, "unreadable", f"libhdf5 cannot read it: {error}") from None
    return content


def _walk(file: h5py.File, path: str, content: H5Content) -> None:
    import h5py

    waiting: list[tuple[str, Any]] = [("", file["/"])]
    seen = {h5py.h5o.get_info(file["/"].id).addr}
    while waiting:
        name, group = waiting.pop()
        below: list[tuple[str, Any]] = []
        first = len(content.tensors)
        for child in group:
            full = f"{name}/{child}" if name else child
            try:
                found = _visit(group, child, full, path, seen, content)
            except Damaged as error:
                content.failures.append(error)
                continue
            except FAILURES as error:
                detail = f"libhdf5 cannot read {full!r}: {error}"
                content.failures.append(Damaged(path, 0, "unreadable", detail))
                continue
            if found is not None:
                below.append((full, found))
        waiting.extend(reversed(below))
        if name.endswith("vars") and _counts(content.tensors[first:], f"{name}/0"):
            content.group_names[name.rpartition("/")[0]] = _text_attribute(group, "name")


def _counts(tensors: list[TensorStats], name: str) -> bool:
    """Whether a group begins with a counter, as an optimizer's variables do."""
    return any(t.name == name and t.shape == () and "int" in t.dtype for t in tensors)


def _visit(
    group: h5py.Group, child: str, full: str, path: str, seen: set[int], content: H5Content
) -> h5py.Group | None:
    """Add a dataset, or return the group to be entered."""
    import h5py

    if not isinstance(group.get(child, getlink=True), h5py.HardLink):
        raise Damaged(path, 0, "refused_link", f"{full!r} is a link, it was not followed")
    found = group[child]
    address = h5py.h5o.get_info(found.id).addr
    if address in seen:
        return None
    seen.add(address)
    if len(seen) > _MAX_OBJECTS:
        raise Damaged(path, 0, "limit", "too many objects")
    if isinstance(found, h5py.Group):
        return found
    if isinstance(found, h5py.Dataset):
        content.tensors.append(_statistics(found, full, path))
    return None


def _statistics(dataset: h5py.Dataset, name: str, path: str) -> TensorStats:
    kind = TensorKind.WEIGHT
    shape: tuple[int, ...] = dataset.shape or ()
    count = 0 if dataset.shape is None else math.prod(shape)
    dtype = dataset.dtype
    if (
        dtype.kind == "V"
        and _text_attribute(dataset, "dtype") == "bfloat16"
        and dtype.itemsize == 2
    ):
        import ml_dtypes
        import numpy as np

        dtype = np.dtype(ml_dtypes.bfloat16)
    if not is_numeric(dtype):
        return counted_only(name, kind, shape, "string" if dtype.kind in "OSU" else "opaque", count)
    _check_storage(dataset, count * dtype.itemsize, name, path)
    summary = TensorSummary()
    for block in _blocks(dataset, dtype.itemsize) if count else ():
        summary.add(dataset[block].view(dtype))
    return summary.finish(name, kind, shape, dtype.name)


def _check_storage(dataset: h5py.Dataset, declared: int, name: str, path: str) -> None:
    """Refuse data that lies elsewhere, and sizes that the file does not back."""
    if dataset.is_virtual or dataset.external:
        raise Damaged(path, 0, "refused_storage", f"{name!r} lies in another file, it was not read")
    properties = dataset.id.get_create_plist()
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    if not _BUILT_IN_FILTERS.issuperset(filters):
        raise Damaged(path, 0, "unsupported", f"{name!r} needs a filter that is not built in")
    stored = dataset.id.get_storage_size()
    if dataset.chunks is not None:
        chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
        fits = declared <= max(stored, 1) * (_DEFLATE_RATIO if filters else 1)
        if chunk > _MAX_CHUNK or not fits:
            raise Damaged(
                path, 0, "limit", f"{name!r} promises {declared} bytes, {stored} are stored"
            )
    elif stored != declared:
        raise Damaged(
            path, 0, "bad_shape", f"{name!r} promises {declared} bytes, {stored} are stored"
        )


def _blocks(dataset: h5py.Dataset, itemsize: int) -> Iterator[tuple[slice | int, ...]]:
    """Cover the dataset once, by selections of at most `_PIECE` bytes or one chunk."""
    if math.prod(dataset.shape) * itemsize <= _PIECE:
        yield (...,)  # type: ignore[misc]
    elif dataset.chunks is not None:
        yield from dataset.iter_chunks()
    else:
        yield from _slabs(dataset.shape, _PIECE // itemsize)


def _slabs(shape: tuple[int, ...], most: int) -> Iterator[tuple[slice | int, ...]]:
    row = math.prod(shape[1:])
    if row <= most:
        rows = max(1, most // max(1, row))
        for start in range(0, shape[0], rows):
            yield (slice(start, min(start + rows, shape[0])),)
        return
    for index in range(shape[0]):
        for inner in _slabs(shape[1:], most):
            yield (index, *inner)


def _text_attribute(owner: h5py.Group | h5py.Dataset, name: str) -> str:
    """Read an attribute that should be text; empty where it is missing, too large or no text."""
    if name not in owner.attrs or owner.attrs.get_id(name).get_storage_size() > _MAX_ATTRIBUTE:
        return ""
    value = owner.attrs[name]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else ""
