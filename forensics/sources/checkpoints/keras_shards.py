"""Weights that Keras split over several files: ``name.weights.json`` says which file holds what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forensics.domain.run import CheckpointFormat
from forensics.errors import Damaged
from forensics.sources.checkpoints.checkpoint_format import Claim, OpenCheckpoint, Unopened
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.dtypes import numpy_dtype
from forensics.sources.checkpoints.hdf5.file import H5Content, read_h5
from forensics.sources.checkpoints.keras_config import parse_json
from forensics.sources.checkpoints.keras_weights import add_weights
from forensics.sources.checkpoints.parts import Part
from forensics.sources.checkpoints.stored_tensor import StoredTensor
from forensics.sources.storage.blob import Blob, NotRegular
from forensics.sources.storage.place import Place

KIND = "weights_h5"
SUFFIX = ".weights.json"
MAX_MAP = 16 << 20
_MAX_SHARDS = 10_000


class ShardedWeights:
    """A ``.weights.json`` and the files that it lists."""

    def find(self, names: Sequence[str], place: Place) -> Iterable[Claim]:
        """Claim every map with its files; one that cannot be read is claimed alone."""
        there = set(names)
        for name in names:
            if name.lower().endswith(SUFFIX):
                try:
                    with place.open(name) as blob:
                        listed = tuple(read_map(blob).shards)
                except (Damaged, OSError, NotRegular):
                    listed = ()
                files = (name, *(file for file in listed if file in there))
                yield Claim(name, CheckpointFormat.WEIGHTS_H5, files)

    def fill(self, checkpoint: OpenCheckpoint) -> None:
        """Read the shards, joined before they are judged.

        A shard by itself does not tell slots from weights, nor how far its optimizer had come.
        """
        name, contents = checkpoint.claim.name, checkpoint.contents
        contents.verifiable = False
        shards = read_map(checkpoint.blob(name, KIND))
        whole = H5Content()
        for shard in shards.shards:
            try:
                part = read_h5(Part(checkpoint.blob(shard, KIND)))
            except Unopened as error:
                _miss(name, shard, error, contents)
            except Damaged as error:
                contents.fail(error)
            else:
                join(whole, part, shard, shards, contents)
        check_total(whole, shards, contents)
        add_weights(whole, checkpoint)


@dataclass(frozen=True, slots=True)
class ShardMap:
    """What a map says.

    Attributes
    ----------
    name : str
        Of the map.
    shards : dict
        Each file that it lists, and the groups that should be in it.
    total : float or None
        Bytes of all variables, as Keras counts them: a truth value is a bit.
    """

    name: str
    shards: dict[str, list[str]]
    total: float | None


def join(whole: H5Content, part: H5Content, shard: str, shards: ShardMap, to: Contents) -> None:
    """Add a shard to the others; what the map promises of it and it does not hold is lost."""
    if not part.failures:
        there = {tensor.name.rpartition("/")[0] for tensor in part.tensors}
        for group in shards.shards[shard]:
            if group.strip("/") not in there:
                detail = f"{shards.name} lists {group!r} in this file, and it is not there"
                to.lose(shard, "missing_tensor", detail)
    whole.join(part)


def check_total(whole: H5Content, shards: ShardMap, contents: Contents) -> None:
    """Compare the bytes of all variables with what the map promises, if nothing else is wrong."""
    if contents.damaged or whole.failures or shards.total is None:
        return
    if all(tensor.numeric for tensor in whole.tensors):
        found = sum(map(_bytes, whole.tensors))
        if found != shards.total:
            detail = f"the map promises {shards.total:g} bytes of variables, there are {found:g}"
            contents.lose(shards.name, "missing_tensor", detail)


def _bytes(tensor: StoredTensor) -> float:
    bits = 1 if tensor.dtype == "bool" else 8 * numpy_dtype(tensor.dtype).itemsize
    return tensor.elements * bits / 8


def _miss(name: str, shard: str, error: Unopened, contents: Contents) -> None:
    if isinstance(error.cause, FileNotFoundError):
        contents.lose(shard, "missing_shard", f"{name} lists this file, and it is not there")
    else:
        contents.refuse(shard, KIND, error.cause)
        contents.damaged = True


def read_map(blob: Blob) -> ShardMap:
    """Read a map that is a file.

    Raises
    ------
    Damaged
        It is no such map, or leads out of its folder.
    OSError
        It cannot be read.
    """
    if blob.size > MAX_MAP:
        raise Damaged(blob.name, 0, "limit", f"the map takes more than {MAX_MAP} bytes")
    return parse_map(bytes(blob.read(0, blob.size)), blob.name)


def parse_map(text: bytes, name: str) -> ShardMap:
    """Parse the text of a map; files are in its folder. Raises as `read_map` does."""
    folder = name.rpartition("/")[0]
    shards: dict[str, list[str]] = {}
    try:
        document = parse_json(text)
        for group, file in _listed(document):
            if _leads_out(file) or len(shards) > _MAX_SHARDS:
                detail = "the map lists files outside of its folder, or too many"
                raise Damaged(name, 0, "bad_map", detail)
            shards.setdefault(f"{folder}/{file}" if folder else file, []).append(group)
        total = document.get("metadata", {}).get("total_size")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(name, 0, "bad_map", f"this maps no weights: {error}") from None
    in_order = dict(sorted(shards.items()))
    return ShardMap(name, in_order, total if isinstance(total, float) else None)


def _leads_out(name: str) -> bool:
    return name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name


def _listed(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for group, files in document["weight_map"].items():
        for file in [files] if isinstance(files, str) else files:
            if not isinstance(file, str):
                raise TypeError("a name of a file was expected")
            yield group, file
