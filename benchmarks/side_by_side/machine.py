"""What a result was measured on."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PEERS = ("tensorflow", "tensorboard", "tensorboard-data-server", "tbparse", "numba", "crc32c")


def machine_line() -> str:
    """Processor, cores, load, and versions of all that takes part."""
    found = [f"{name} {_version(name)}" for name in _PEERS]
    load = f"load {os.getloadavg()[0]:.1f}"
    python = f"Python {sys.version.split()[0]}"
    return f"machine: {_processor()}, {os.cpu_count()} cores, {load}, {python}, " + ", ".join(found)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{platform.machine()} ({names[0]})" if names else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"
