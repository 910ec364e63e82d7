"""What comes before the speed: compilation, cold files, a store far away, and memory.

Cold and cached JIT: CPU seconds of a fresh process. Three thousand small runs: wall seconds, their
files not in memory, or in an S3 store on this machine (moto; neither TensorBoard nor tbparse reads
from one, measured with TensorFlow 2.21). Peak memory of a large log directory and of very many
tags. `--quick`: small sets.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from side_by_side import rustboard
from side_by_side.cold import forget
from side_by_side.event_sets import (
    Models,
    scratch,
    write_mixed,
    write_runs,
    write_scalars,
    write_tags,
)
from side_by_side.machine import machine_line
from side_by_side.s3 import BUCKET, bucket_of
from side_by_side.table import Target, heading
from side_by_side.worker import HERE, Worker

_FRESH = """
import sys
from pathlib import Path
from side_by_side.readers import READERS
READERS["ours"](Path(sys.argv[1]))
"""
SLICE = 20
"""What EventAccumulator reads of the many runs is this much smaller."""


def compilation(models: Models, points: int) -> None:
    """A fresh process whose cache of compiled code is empty, and then full."""
    with scratch() as root, tempfile.TemporaryDirectory() as cache:
        write_scalars(models, root, points, v2=True)
        print(heading(f"a fresh process reads {points:,} scalars"))
        cold = _fresh(root, cache)
        cached = min(_fresh(root, cache) for _ in range(3))
        with Worker("ours", {"NUMBA_CACHE_DIR": cache}) as worker:
            worker.read(root)
            warm = worker.read(root).cpu
    print(f"  cold {cold:.2f} CPU s, cached {cached:.2f} CPU s, warm read {warm:.3f} CPU s")
    print(Target("cold JIT", "CPU s", most=4).line(cold - cached))
    print(Target("start, imports and cached JIT", "CPU s").line(cached - warm))


def _fresh(root: Path, cache: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    paths = os.pathsep.join([str(HERE), str(HERE.parent)])
    environment = os.environ | {"PYTHONPATH": paths, "NUMBA_CACHE_DIR": cache}
    subprocess.run([sys.executable, "-c", _FRESH, str(root)], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def small_runs(models: Models, count: int) -> None:
    """Many small runs, on the disk and in a bucket."""
    with scratch() as root, Worker("ours") as ours, Worker("EventAccumulator") as peer:
        full, part, warm = root / "full", root / "slice", root / "warm"
        size = write_runs(models, full, count, 4, 25)
        write_runs(models, part, count // SLICE, 4, 25)
        write_runs(models, warm, 2, 4, 25)
        print(heading(f"{count:,} runs of 100 scalars, {size / 1e6:.0f} MB, cold"))
        for worker in (ours, peer):
            worker.read(warm)
        how = forget(root)
        mine = ours.read(full)
        forget(root)
        theirs = peer.read(part).wall * SLICE
        print(f"  ours {mine.wall:.2f} s (CPU {mine.cpu:.2f} s), {mine.count:,} points; {how}")
        print(f"  EventAccumulator {theirs:.2f} s (a slice of 1/{SLICE}, scaled)")
        print(Target("small runs, local, EventAccumulator, wall").line(theirs / mine.wall))
        try:
            forget(root)
            _, rust = rustboard.load(full)
        except rustboard.Missing:
            print(Target("small runs, local, rustboard, wall").line(None, "not installed"))
        else:
            print(f"  rustboard {rust:.2f} s")
            print(Target("small runs, local, rustboard, wall").line(rust / mine.wall))
        _remote(full, mine.count)


def _remote(root: Path, expected: int) -> None:
    target = Target("small runs, S3, wall", "s")
    with bucket_of(root) as environment, Worker("ours", environment) as ours:
        try:
            ours.read(f"s3://{BUCKET}/run_0000")
            cost = ours.read(f"s3://{BUCKET}")
        except RuntimeError as error:
            print(target.line(None, str(error)))
            return
    print(f"  ours from S3 {cost.wall:.2f} s (CPU {cost.cpu:.2f} s), {cost.count:,} points")
    if cost.count != expected:
        print(f"  ours found {cost.count} of {expected}")
    print(target.line(cost.wall))


def memory(models: Models, size: int, tags: int) -> None:
    """Peaks of a fresh process each, as `forensics.read` is called."""
    print(heading("peak memory"))
    for name, write, amount in (
        (f"{size / 1e6:.0f} MB log directory", write_mixed, size),
        (f"{tags:,} tags", write_tags, tags),
    ):
        with scratch() as root, Worker("ours_read") as ours:
            write(models, root, amount)
            cost = ours.read(root, sample=True)
            print(f"  {name}: {cost.resident / 1e6:.0f} MB resident, mapped files included")
            print(Target(f"{name}, without mapped files", "MB", most=512).line(
                cost.anonymous / 1e6))  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print each measurement and its target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sets")
    options = parser.parse_args(arguments)
    small = 20 if options.quick else 1
    print(machine_line())
    models = Models()
    compilation(models, 1_000_000 // min(small, 4))
    small_runs(models, 3_000 // small)
    memory(models, 1_000_000_000 // small, 200_000 // small)


if __name__ == "__main__":
    main()
