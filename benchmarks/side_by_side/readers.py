"""Everything that is measured, by name: this program, its peers, and the floor below both.

Each takes a path and returns how many points, bytes or tensors it found, so that whoever loses some
is seen. A peer is imported by its first call, which is never measured.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Reader = Callable[[Path], int]


def event_files(root: Path) -> list[Path]:
    return sorted(root.rglob("*tfevents*"))


def ours(root: Path | str) -> int:
    """Every scalar of every event file, as a DataFrame; all checksums verified."""
    return _scalars(root)


def ours_fast(root: Path) -> int:
    """The same; the data of records above 4 KiB is not checksummed."""
    from forensics.sources.events.event_file import FAST

    return _scalars(root, FAST)


def _scalars(root: Path | str, verified_length: int | None = None) -> int:
    """As `forensics.read` does it, but without hashing the files, which no peer does."""
    from forensics.domain.frames import scalar_frame
    from forensics.sources.events.event_file import Reading, read_event_files
    from forensics.sources.events.writers import join_writers
    from forensics.sources.series import series_of
    from forensics.sources.storage.locate import locate

    place, _ = locate(root)
    tree = place.survey()
    place.expect(tree.events)
    how = Reading(hashed=False)
    if verified_length is not None:
        how = Reading(verified_length=verified_length, hashed=False)
    files = read_event_files(place, tree.events, how)
    for file in files:
        for warning in file.warnings:
            assert warning.kind == "not_verified", warning
    return len(scalar_frame(series_of(join_writers(files))))


def ours_read(root: Path) -> int:
    """What a user calls, hashes of the inputs included."""
    import forensics

    return len(forensics.read(root).scalars())


def ours_histograms(root: Path) -> int:
    """Every histogram, decoded."""
    import forensics

    return len(forensics.read(root).histograms())


def event_accumulator(root: Path) -> int:
    """TensorBoard's reader, one per directory, nothing downsampled."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = 0
    everything = dict.fromkeys(
        ("scalars", "tensors", "histograms", "compressedHistograms", "images", "audio"), 0
    )
    for folder in sorted({path.parent for path in event_files(root)}):
        loaded = EventAccumulator(str(folder), size_guidance=everything)
        loaded.Reload()
        tags = loaded.Tags()
        found += sum(len(loaded.Scalars(tag)) for tag in tags["scalars"])
        found += sum(len(loaded.Tensors(tag)) for tag in tags["tensors"])
        found += sum(len(loaded.Histograms(tag)) for tag in tags["histograms"])
    return found


def tbparse(root: Path) -> int:
    """A DataFrame through EventAccumulator."""
    from tbparse import SummaryReader

    reader = SummaryReader(str(root))
    # Scalars of TensorFlow 2 are tensors to it.
    return len(reader.scalars) + len(reader.tensors)


def mmap_sum(root: Path) -> int:
    """The floor: map each file and add up its words."""
    import numpy as np

    total = 0
    for content in _mapped(root):
        whole = len(content) & ~7
        with np.errstate(over="ignore"):
            int(np.frombuffer(content, np.uint64, whole // 8).sum())
        total += len(content)
    return total


def mmap_crc(root: Path) -> int:
    """The floor with a checksum of everything."""
    import crc32c

    total = 0
    for content in _mapped(root):
        crc32c.crc32c(content)
        total += len(content)
    return total


def _mapped(root: Path) -> Iterator[Any]:
    paths = event_files(root) if root.is_dir() else [root]
    for path in paths or sorted(root.iterdir()):
        descriptor = os.open(path, os.O_RDONLY)
        size = os.fstat(descriptor).st_size
        if size:
            yield mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        os.close(descriptor)


def ours_checkpoints(root: Path) -> int:
    """Statistics of every tensor, checksums verified; files are not hashed (by no reader here)."""
    from forensics.sources.checkpoints.registry import find_checkpoints, open_checkpoint
    from forensics.sources.checkpoints.summarise import summarise_all
    from forensics.sources.storage.place import Directory

    place, found = Directory(root), 0
    for form, claim in find_checkpoints(place.survey().files, place):
        with open_checkpoint(place, form, claim) as checkpoint:
            summarise_all(checkpoint)
            assert not checkpoint.contents.warnings, checkpoint.contents.warnings
            found += len(checkpoint.contents.tensors)
    return found


def naive_checkpoints(root: Path) -> int:
    """What one writes without this program: TensorFlow's reader and NumPy, tensor by tensor."""
    import numpy as np
    import tensorflow as tf

    found = 0
    for index in sorted(root.glob("*.index")):
        reader = tf.train.load_checkpoint(str(index).removesuffix(".index"))
        for name in sorted(reader.get_variable_to_shape_map()):
            array = reader.get_tensor(name)
            if array.dtype.itemsize < 4:
                array = array.astype(np.float32)
            _ = array.size, np.isnan(array).sum(), np.isposinf(array).sum()
            _ = np.isneginf(array).sum(), (array == 0).sum()
            finite = array[np.isfinite(array)]
            _ = finite.min(), finite.max()
            _ = finite.mean(dtype=np.float64), finite.std(dtype=np.float64)
            _ = np.sqrt(np.square(finite, dtype=np.float64).sum())
            found += 1
    return found


READERS: dict[str, Reader] = {
    "ours": ours,
    "ours_fast": ours_fast,
    "ours_read": ours_read,
    "ours_histograms": ours_histograms,
    "ours_checkpoints": ours_checkpoints,
    "EventAccumulator": event_accumulator,
    "tbparse": tbparse,
    "mmap_sum": mmap_sum,
    "mmap_crc": mmap_crc,
    "naive_checkpoints": naive_checkpoints,
}
