"""What the child process may do, and which walls stand on this system.

Two kinds of replay: the caller's own program, which keeps its network and its files, for its data
may be anywhere; and foreign ones (a recording or a saved file that came with the log directory),
which get neither network nor writing nor the caller's environment variables.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from forensics.replay.sandbox import family
from forensics.replay.sandbox.interpreter import current, located
from forensics.replay.sandbox.memory_watch import default_limit, in_gigabytes
from forensics.replay.source import SourceKind

_PACKAGES = Path(__file__).resolve().parents[3]
_START = (
    "import sys; order = sys.argv.pop(); sys.path.append(sys.argv.pop()); import json; "
    "from forensics.replay.sandbox.launcher import main; main(json.loads(order))"
)
_HANDED_ON = re.compile(
    r"^(PATH|HOME|LANG|LANGUAGE|LC_\w+|TZ|USER|LOGNAME|LD_LIBRARY_PATH|SYSTEMROOT|XLA_FLAGS"
    r"|(TF|CUDA|CUDNN|NVIDIA|OMP|MKL|KMP|KERAS|ROCM|HIP)_\w+)$"
)
"""Variables that a foreign program gets: how the runtime is set up, no keys and no addresses."""


def is_foreign(kind: SourceKind) -> bool:
    """Whether what is run came with the log directory, and is not a program the caller named."""
    return kind is not SourceKind.ENTRY_POINT


@dataclass(frozen=True, slots=True)
class Containment:
    """Limits of one child process.

    Parameters
    ----------
    device : str
        ``auto``, ``cpu`` or ``gpu``.
    timeout : float
        Seconds of wall clock.
    foreign : bool
        No network, no writing outside the temporary folder, few environment variables.
    python : Path or None
        Interpreter of the worker; None: this one.
    memory : int or None
        Bytes that the child and its descendants may hold; None: 80 % of the machine's memory.
    """

    device: str = "auto"
    timeout: float = 600.0
    foreign: bool = False
    python: Path | None = None
    memory: int | None = None

    @property
    def memory_limit(self) -> int | None:
        """Bytes; None where the system does not tell how much it has."""
        return self.memory if self.memory is not None else default_limit()

    def start(self, worker: Path, folder: str) -> subprocess.Popen[bytes]:
        """Start `worker` with pipes at its three streams and `folder` for its temporary files."""
        return subprocess.Popen(
            self._command(worker, folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=self.environment(folder),
            start_new_session=os.name == "posix",
        )

    def _command(self, worker: Path, folder: str) -> list[str]:
        python = located(self.python) if self.python is not None else current()
        # a fault handler: a crash in native code leaves its Python stack on stderr
        command = [str(python), "-I", "-B", "-X", "faulthandler", str(worker)]
        if os.name != "posix":
            return command
        order = {
            "command": command,
            "folder": folder,
            "foreign": self.foreign,
            "address_space": self._address_space(),
            "parent": os.getpid(),
        }
        launcher = [sys.executable, "-I", "-S", "-B", "-c", _START]
        return [*launcher, str(_PACKAGES), json.dumps(order)]

    def _address_space(self) -> int | None:
        """Limit where resident memory cannot be watched; CUDA reserves far more than it uses."""
        return self.memory_limit if not family.known() and self.device == "cpu" else None

    def environment(self, folder: str) -> dict[str, str]:
        """Environment variables of the child."""
        env = {k: v for k, v in os.environ.items() if not self.foreign or _HANDED_ON.match(k)}
        env.update(TMPDIR=folder, TEMP=folder, TMP=folder)
        env.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        # the replay takes of a card what it needs, and leaves the rest to others
        env.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
        if self.device == "cpu":
            env["CUDA_VISIBLE_DEVICES"] = "-1"
        return env

    def layers(self, reported: dict[str, list[str]] | None) -> tuple[str, ...]:
        """Walls in force, then what is missing or left open, for the report.

        Parameters
        ----------
        reported : dict or None
            What the launcher says holds and is missing (``layers``, ``missing``); None: it said
            nothing, as where there is none.
        """
        there = [
            "child process",
            "isolated interpreter",
            "private temporary folder",
            f"deadline of {self.timeout:g} s",
            "output limit",
        ]
        missing: list[str] = []
        limit = self.memory_limit
        if limit is not None and family.known():
            there.append(f"memory limit of {in_gigabytes(limit)}")
        elif self._address_space() is None or reported is None:
            missing.append("memory limit (this system does not tell what a process holds)")
        if reported is not None:
            there += reported["layers"]
            missing += reported["missing"]
        else:
            missing.append("process group")
            if self.foreign:
                missing += ["no network", "no writing outside the temporary folder"]
        if self.foreign:
            there.append("few environment variables")
        else:
            missing.append("network and files stay open (the program is the caller's own)")
        return (*there, *(f"missing: {what}" for what in missing))
