"""CPU seconds of a fresh `forensics analyze` without replay, and of `forensics --help`.

Beside it, importing TensorFlow alone, which every peer that reads checkpoints pays first.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from pathlib import Path

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
    """Print one line per command."""
    print(f"machine: {platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    for label, argv in (
        ("python -c pass", ["-c", "pass"]),
        ("forensics --help", ["-m", "forensics", "--help"]),
        ("forensics analyze (text)", ["-m", "forensics", "analyze", str(RUN)]),
        ("forensics analyze (html)", ["-m", "forensics", "analyze", str(RUN), "--format", "html"]),
        ("import tensorflow", ["-c", "import tensorflow"]),
    ):
        print(f"{label:28s} {cpu(argv):6.2f} CPU s")


if __name__ == "__main__":
    main()
