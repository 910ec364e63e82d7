"""Checkpoints: statistics of every tensor, by this program and by TensorFlow's reader with NumPy.

Per tensor: count, NaN, infinities, zeros, minimum, maximum, mean, standard deviation, L2 norm. Each
reader has a warm process of its own, and all take turns; median CPU seconds. The floor maps the
data and takes its CRC-32C. Hashing of the files (SHA-256) is told apart. `--quick`: a small set.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from side_by_side.checkpoint_sets import write_checkpoint
from side_by_side.event_sets import scratch
from side_by_side.machine import machine_line
from side_by_side.rounds import alternate
from side_by_side.table import Target, heading
from side_by_side.worker import Worker


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the readers and the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small set")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    size = 100_000_000 if options.quick else 2_080_000_000
    print(machine_line())
    with scratch() as root:
        tensors = write_checkpoint(root, size)
        print(heading(f"{size / 1e9:.2f} GB of float32, float16 and bfloat16, {tensors} tensors"))
        names = ("ours_checkpoints", "naive_checkpoints", "mmap_crc")
        with ExitStack() as stack:
            workers = {name: stack.enter_context(Worker(name)) for name in names}
            for name, worker in workers.items():
                count = worker.read(root).count
                if name != "mmap_crc" and count != tensors:
                    print(f"  {name} found {count} of {tensors}")
            turns = {n: lambda w=w: w.read(root).cpu for n, w in workers.items()}  # type: ignore[misc]
            found = alternate(turns, options.rounds)
            peak = workers["ours_checkpoints"].read(root, sample=True)
        hashed = _hashing(root)
    print(f"  {'(SHA-256 of the files)':28s} {hashed:9.3f} CPU s")
    ours = found["ours_checkpoints"]
    print(Target("checkpoint, naive TensorFlow + NumPy", least=15).line(
        found["naive_checkpoints"] / ours))  # fmt: skip
    print(Target("checkpoint over the floor (mmap + CRC)", most=2.5).line(ours / found["mmap_crc"]))
    print(Target("peak memory that is no mapped file", "MB", most=512).line(peak.anonymous / 1e6))


def _hashing(root: Path) -> float:
    begun = time.process_time()
    for path in root.iterdir():
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
    return time.process_time() - begun


if __name__ == "__main__":
    main()
