"""The Rust data server of TensorBoard: CPU seconds of its process until it has loaded a logdir."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

_ALL = "scalars=all,histograms=all,images=all,text=all,audio=all,distributions=all"


class Missing(Exception):
    """The package that brings the server is not installed."""


def load(folder: Path, *, checksum: bool = False) -> tuple[float, float]:
    """CPU and wall seconds of one load, everything kept, nothing sampled.

    Raises
    ------
    Missing
    """
    try:
        from tensorboard_data_server import server_binary
    except ImportError:
        raise Missing from None
    command = [
        server_binary(), f"--logdir={folder}", "--port=0", "--reload=once", "--verbose",
        f"--samples-per-plugin={_ALL}", "--die-after-stdin",
        "--checksum" if checksum else "--no-checksum",
    ]  # fmt: skip
    begun = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stderr is not None
        for line in server.stderr:
            if "Finished load cycle" in line:
                break
        else:
            raise RuntimeError("the data server ended before it had loaded")
        wall = time.perf_counter() - begun
        cpu = _cpu_seconds(server.pid)
        server.kill()
    return cpu, wall


def _cpu_seconds(pid: int) -> float:
    """Processor time of a process, in nanoseconds where the scheduler tells them."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
        except (OSError, ValueError, IndexError):
            total = 0
            break
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    ticks = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    # Threads that have ended are only in the ticks.
    return max(total / 1e9, ticks)
