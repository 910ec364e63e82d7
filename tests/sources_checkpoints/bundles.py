"""Tensor bundles for tests, written without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forensics.sources.checkpoints.bundle_entries import DTYPES
from forensics.sources.checksum import crc32c
from tests.sources_checkpoints.encode import bundle_index, entry

NUMBERS = {name: number for number, name in DTYPES.items()}
SHARD = ".data-00000-of-00001"


def write_bundle(prefix: Path, tensors: Mapping[str, npt.NDArray[Any]]) -> None:
    """A bundle of one shard, without an object graph."""
    data, entries = b"", []
    for name, array in sorted(tensors.items()):
        raw = np.ascontiguousarray(array).tobytes()
        made = entry(NUMBERS[array.dtype.name], array.shape, len(data), len(raw), crc32c(raw))
        entries.append((name.encode(), made))
        data += raw
    prefix.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{prefix}.index").write_bytes(bundle_index(entries))
    Path(f"{prefix}{SHARD}").write_bytes(data)
