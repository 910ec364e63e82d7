"""CPU seconds of a fresh `forensics analyze` without replay, and of `forensics --help`.

The target stands for a log directory of 1 MB. Beside it, importing TensorFlow alone, which every
peer that reads checkpoints pays first.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

from side_by_side.event_sets import Models, scratch, write_scalars
from side_by_side.machine import machine_line
from side_by_side.table import Target

ROOT = Path(__file__).resolve().parent.parent
NAME = "nine_thousand_images"
RUN = ROOT / "fixtures" / "unsafe_operation" / NAME / NAME


def cpu(argv: list[str]) -> float:
    """Best CPU seconds (user and system) of three child processes."""
    times = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *argv],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            check=False,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def main() -> None:
    """Print one line per command, and the target."""
    print(machine_line())
    for label, argv in (
        ("python -c pass", ["-c", "pass"]),
        ("forensics --help", ["-m", "forensics", "--help"]),
        ("forensics analyze (text)", ["-m", "forensics", "analyze", str(RUN)]),
        ("forensics analyze (html)", ["-m", "forensics", "analyze", str(RUN), "--format", "html"]),
        ("import tensorflow", ["-c", "import tensorflow"]),
    ):
        print(f"{label:28s} {cpu(argv):6.2f} CPU s")
    with scratch() as root:
        write_scalars(Models(), root, 13_000, v2=True)
        seconds = cpu(["-m", "forensics", "analyze", str(root)])
    print(Target("forensics analyze of 1 MB, a fresh process", "CPU s", most=1).line(seconds))


if __name__ == "__main__":
    main()
