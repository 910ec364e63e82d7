"""Weights that Keras split over several files: ``name.weights.json`` says which file holds what."""

from __future__ import annotations

from collections.abc import Iterator

from forensics.domain.run import InputState
from forensics.errors import Damaged
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.hdf5 import H5Content, read_h5
from forensics.sources.checkpoints.keras_config import parse_json
from forensics.sources.checkpoints.keras_weights import add_weights
from forensics.sources.storage.blob import Blob, BlobFile, NotRegular
from forensics.sources.storage.place import Place

KIND = "weights_h5"
_MAX_MAP = 16 << 20
_MAX_SHARDS = 10_000


def shards_of(place: Place, name: str) -> tuple[str, ...]:
    """Return the names of the files that a map lists, each in the folder of the map.

    Raises
    ------
    Damaged
        It is no such map, or leads out of its folder.
    OSError, NotRegular
        It cannot be read.
    """
    with place.open(name) as blob:
        if blob.size > _MAX_MAP:
            raise Damaged(name, 0, "limit", f"the map takes more than {_MAX_MAP} bytes")
        try:
            shards = tuple(sorted(set(_listed(parse_json(bytes(blob.read(0, blob.size)))))))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Damaged(name, 0, "bad_map", f"this maps no weights: {error}") from None
    if len(shards) > _MAX_SHARDS or any(_leads_out(shard) for shard in shards):
        raise Damaged(name, 0, "bad_map", "the map lists files outside of its folder, or too many")
    return shards


def _leads_out(name: str) -> bool:
    return name in ("", ".", "..") or "/" in name


def _listed(document: object) -> Iterator[str]:
    for files in document["weight_map"].values():  # type: ignore[index]
        for file in [files] if isinstance(files, str) else files:
            if not isinstance(file, str):
                raise TypeError("a name of a file was expected")
            yield file


def read_shards(place: Place, name: str, shards: tuple[str, ...], contents: Contents) -> None:
    """Read the shards of one checkpoint, joined before they are judged.

    A shard by itself does not tell slots from weights, nor how far its optimizer had come.
    """
    whole = H5Content()
    for shard in shards:
        relative = name.rpartition("/")[0] + "/" + shard if "/" in name else shard
        try:
            with place.open(relative) as blob:
                _join(whole, blob, contents)
        except FileNotFoundError:
            contents.lose(relative, "missing_shard", f"{name} lists this file, and it is not there")
        except (OSError, NotRegular) as error:
            contents.refuse(relative, KIND, error)
            contents.damaged = True
        except Damaged as error:
            contents.fail(error)
    add_weights(whole, contents)


def _join(whole: H5Content, blob: Blob, contents: Contents) -> None:
    state = InputState.DAMAGED
    try:
        source = BlobFile(blob, 0, blob.size) if blob.whole is None else blob.whole
        part = read_h5(source, blob.name)
        whole.tensors.extend(part.tensors)
        whole.group_names.update(part.group_names)
        whole.attributes.update(part.attributes)
        whole.root |= part.root
        whole.failures.extend(part.failures)
        state = InputState.DAMAGED if part.failures else InputState.COMPLETE
    finally:
        contents.inputs.append(blob.record(KIND, state))
