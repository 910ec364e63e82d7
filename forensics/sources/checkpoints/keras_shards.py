"""Weights that Keras split over several files: ``name.weights.json`` says which file holds what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from forensics.domain.run import CheckpointFormat
from forensics.errors import Damaged
from forensics.sources.checkpoints.checkpoint_format import Claim, OpenCheckpoint, Unopened
from forensics.sources.checkpoints.contents import Contents
from forensics.sources.checkpoints.hdf5.file import H5Content, read_h5
from forensics.sources.checkpoints.keras_config import parse_json
from forensics.sources.checkpoints.keras_weights import add_weights
from forensics.sources.checkpoints.parts import Part
from forensics.sources.storage.blob import NotRegular
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
                    listed = shards_of(place, name)
                except (Damaged, OSError, NotRegular):
                    listed = ()
                files = (name, *(file for file in listed if file in there))
                yield Claim(name, CheckpointFormat.WEIGHTS_H5, files)

    def fill(self, checkpoint: OpenCheckpoint) -> None:
        """Read the shards, joined before they are judged.

        A shard by itself does not tell slots from weights, nor how far its optimizer had come.
        """
        name, contents = checkpoint.claim.name, checkpoint.contents
        try:
            shards = shards_of(checkpoint.place, name)
        except (OSError, NotRegular) as error:
            raise Unopened(name, KIND, error) from error
        checkpoint.contents.verifiable = False
        whole = H5Content()
        for shard in shards:
            try:
                whole.join(read_h5(Part(checkpoint.blob(shard, KIND))))
            except Unopened as error:
                _miss(name, shard, error, contents)
            except Damaged as error:
                contents.fail(error)
        add_weights(whole, checkpoint)


def _miss(name: str, shard: str, error: Unopened, contents: Contents) -> None:
    if isinstance(error.cause, FileNotFoundError):
        contents.lose(shard, "missing_shard", f"{name} lists this file, and it is not there")
    else:
        contents.refuse(shard, KIND, error.cause)
        contents.damaged = True


def shards_of(place: Place, name: str) -> tuple[str, ...]:
    """Return the files that a map lists, each in the folder of the map.

    Raises
    ------
    Damaged
        It is no such map, or leads out of its folder.
    OSError, NotRegular
        It cannot be read.
    """
    with place.open(name) as blob:
        if blob.size > MAX_MAP:
            raise Damaged(name, 0, "limit", f"the map takes more than {MAX_MAP} bytes")
        return listed_in(bytes(blob.read(0, blob.size)), name)


def listed_in(text: bytes, name: str) -> tuple[str, ...]:
    """Return the files that the text of a map lists, each in the folder of the map.

    Raises
    ------
    Damaged
        It is no such map, or leads out of its folder.
    """
    try:
        shards = sorted(set(_listed(parse_json(text))))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(name, 0, "bad_map", f"this maps no weights: {error}") from None
    if len(shards) > _MAX_SHARDS or any(_leads_out(shard) for shard in shards):
        raise Damaged(name, 0, "bad_map", "the map lists files outside of its folder, or too many")
    folder = name.rpartition("/")[0]
    return tuple(f"{folder}/{shard}" if folder else shard for shard in shards)


def _leads_out(name: str) -> bool:
    return name in ("", ".", "..") or "/" in name or "\0" in name


def _listed(document: object) -> Iterator[str]:
    for files in document["weight_map"].values():  # type: ignore[index]
        for file in [files] if isinstance(files, str) else files:
            if not isinstance(file, str):
                raise TypeError("a name of a file was expected")
            yield file
