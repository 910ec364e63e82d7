"""Event files: this program, TensorBoard's EventAccumulator, tbparse, the Rust data server.

Each reader has a warm process of its own; all take turns on files that were just written, median
CPU seconds, ratio of a peer over ours. The slow peers read a slice, scaled by its points. Ours ends
in a DataFrame of every scalar; EventAccumulator and the Rust server end in their own memory, which
is less. `--quick`: small sets, for a look.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from side_by_side import rustboard
from side_by_side.event_sets import (
    Models,
    scratch,
    write_histograms,
    write_mixed,
    write_runs,
    write_scalars,
)
from side_by_side.machine import machine_line
from side_by_side.rounds import Turn, alternate
from side_by_side.table import Target, heading
from side_by_side.worker import Worker

SLICE = 10
"""What the slow peers read is this much smaller."""


@dataclass(frozen=True)
class Part:
    """Somebody who takes part: a reader, what it reads, and how much larger the whole is."""

    reader: str
    path: Path
    scale: float = 1.0
    expected: int | None = None


def compete(
    parts: Sequence[Part], rounds: int, *, rust: Path | None = None, checked: Path | None = None
) -> dict[str, float]:
    """Median CPU seconds by reader, scaled to the whole set.

    `rust` and `checked`: what the Rust data server loads, without and with checksums.
    """
    with ExitStack() as stack:
        turns: dict[str, Turn] = {}
        for part in parts:
            worker = stack.enter_context(Worker(part.reader))
            turns[part.reader] = _turn(worker, part)
        for name, path, checksum in (
            ("rustboard", rust, False),
            ("rustboard --checksum", checked, True),
        ):
            if path is not None and _has_rustboard():
                turns[name] = lambda p=path, c=checksum: rustboard.load(p, checksum=c)[0]  # type: ignore[misc]
        return alternate(_able(turns), rounds)


def _able(turns: dict[str, Turn]) -> dict[str, Turn]:
    """Warm everybody up; leave out who cannot read this set."""
    able = {}
    for name, turn in turns.items():
        try:
            turn()
        except RuntimeError as error:
            print(f"  {error}")
        else:
            able[name] = turn
    return able


def _turn(worker: Worker, part: Part) -> Turn:
    def turn() -> float:
        cost = worker.read(part.path)
        if part.expected is not None and cost.count != part.expected:
            print(f"  {part.reader} found {cost.count} of {part.expected}")
        return cost.cpu * part.scale

    return turn


def _has_rustboard() -> bool:
    try:
        import tensorboard_data_server  # noqa: F401
    except ImportError:
        return False
    return True


def told(found: dict[str, float], target: Target, peer: str, ours: str = "ours") -> None:
    """Print the line of a target: seconds of `peer` over those of `ours`."""
    missing = next((name for name in (peer, ours) if name not in found), None)
    if missing:
        print(target.line(None, f"{missing} is not here"))
    else:
        print(target.line(found[peer] / found[ours]))


def scalars(models: Models, points: int, rounds: int, *, v2: bool) -> None:
    """One run of very many scalars."""
    kind = "v2" if v2 else "v1"
    with scratch() as root:
        full, part = root / "full", root / "slice"
        size = write_scalars(models, full, points, v2=v2)
        write_scalars(models, part, points // SLICE, v2=v2)
        print(heading(f"1 run, {points:,} {kind} scalars, {size / 1e6:.0f} MB"))
        parts = [
            Part("ours", full, expected=points),
            Part("mmap_sum", full),
            Part("EventAccumulator", part, SLICE, points // SLICE),
        ]
        if v2:
            parts.append(Part("tbparse", part, SLICE, points // SLICE))
        found = compete(parts, rounds, rust=full)
    print(f"  (EventAccumulator and tbparse: a slice of 1/{SLICE}, scaled)")
    least = (200, 25) if v2 else (100, 12)
    told(found, Target(f"{kind} scalars, EventAccumulator", least=least[0]), "EventAccumulator")
    if v2:
        told(found, Target("v2 scalars, tbparse", least=200), "tbparse")
    told(found, Target(f"{kind} scalars, rustboard", least=least[1]), "rustboard")
    if v2:
        floor = found["ours"] / found["mmap_sum"]
        print(Target("small records over the mmap floor", most=4.5).line(floor))


def runs(models: Models, count: int, rounds: int) -> None:
    """Many runs of 20 tags and 500 steps."""
    part_of = max(1, count // SLICE)
    with scratch() as root:
        full, part = root / "full", root / "slice"
        size = write_runs(models, full, count, 20, 500)
        write_runs(models, part, part_of, 20, 500)
        print(heading(f"{count} runs x 20 tags x 500 steps, {size / 1e6:.0f} MB"))
        scale = count / part_of
        found = compete(
            [
                Part("ours", full, expected=count * 10_000),
                Part("EventAccumulator", part, scale, part_of * 10_000),
                Part("tbparse", part, scale, part_of * 10_000),
            ],
            rounds,
            rust=full,
        )
    print(f"  (EventAccumulator and tbparse: {part_of} of the runs, scaled)")
    for peer, prototype in (("EventAccumulator", 230), ("tbparse", 230), ("rustboard", 26)):
        told(found, Target(f"many runs, {peer} (prototype's ratio)", least=prototype), peer)


def blobs(models: Models, size: int, rounds: int) -> None:
    """Images, texts, histograms and a few scalars."""
    with scratch() as root:
        size = write_mixed(models, root, size)
        print(heading(f"{size / 1e6:.0f} MB mixed, blobs dominate"))
        parts = [Part(name, root) for name in ("ours", "ours_fast", "mmap_sum", "mmap_crc")]
        parts.append(Part("EventAccumulator", root))
        found = compete(parts, rounds, rust=root, checked=root)
    told(found, Target("blobs, full CRC, rustboard (no CRC)", least=1.8), "rustboard")
    told(found, Target("blobs, full CRC, rustboard --checksum"), "rustboard --checksum")
    told(
        found, Target("blobs, full CRC, EventAccumulator (prototype)", least=15), "EventAccumulator"
    )
    told(found, Target("blobs, fast mode, rustboard", least=10), "rustboard", "ours_fast")
    told(
        found,
        Target("blobs, fast mode, EventAccumulator (prototype)", least=111),
        "EventAccumulator",
        "ours_fast",
    )
    floor = found["ours"] / found["mmap_sum"]
    print(Target("blobs, full CRC, over the mmap floor", most=2.2).line(floor))
    print(Target("the same over mmap + CRC").line(found["ours"] / found["mmap_crc"]))


def histograms(models: Models, count: int, rounds: int, *, v2: bool) -> None:
    """Histograms, found and decoded."""
    kind, prototype = ("v2", 37) if v2 else ("v1", 25)
    with scratch() as root:
        size = write_histograms(models, root, count, v2=v2)
        print(heading(f"{count:,} {kind} histograms, {size / 1e6:.0f} MB"))
        found = compete(
            [
                Part("ours", root),
                Part("ours_histograms", root, expected=count),
                Part("EventAccumulator", root, expected=count),
            ],
            rounds,
            rust=root,
        )
    name = f"{kind} histograms, EventAccumulator (prototype)"
    told(found, Target(name, least=prototype), "EventAccumulator")
    told(found, Target(f"{kind} histograms, decoded"), "EventAccumulator", "ours_histograms")
    told(found, Target(f"{kind} histograms, rustboard"), "rustboard")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print each set, its readers and its targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sets")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help="scalars, runs, blobs or histograms")
    options = parser.parse_args(arguments)
    small = 20 if options.quick else 1
    if options.quick:
        # Small sets would be read without kernels.
        os.environ["FORENSICS_JIT"] = "1"
    rounds, only = options.rounds, options.only
    print(machine_line())
    models = Models()
    if only in (None, "scalars"):
        scalars(models, 1_000_000 // small, rounds, v2=True)
        scalars(models, 1_000_000 // small, rounds, v2=False)
    if only in (None, "runs"):
        runs(models, 200 // small, rounds)
    if only in (None, "blobs"):
        blobs(models, 1_000_000_000 // small, rounds)
    if only in (None, "histograms"):
        histograms(models, 30_000 // small, rounds, v2=True)
        histograms(models, 10_000 // small, rounds, v2=False)


if __name__ == "__main__":
    main()
