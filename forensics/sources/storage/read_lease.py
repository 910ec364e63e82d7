"""A promise of the kernel that nobody shortens a file without telling us first.

Reading a mapped file that has become shorter kills the process (SIGBUS); nothing in Python can
prevent that afterwards. On Linux the owner of a file can take a read lease [1]_: it is refused
while anybody has the file open for writing, and whoever opens or truncates it then waits until the
lease is given back, at most ``/proc/sys/fs/lease-break-time`` (45 s by default). Network file
systems do not give leases, or keep the same promise. Without a lease nothing is mapped.

References
----------
.. [1] ``fcntl(2)``, "Leases".
"""

from __future__ import annotations

import signal
from types import TracebackType
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:
    fcntl = None

_F_SETSIG = 10
"""``F_SETSIG`` of Linux, which Python has no name for."""


class ReadLease:
    """A read lease on an open file, given back at the end of the ``with`` block.

    Parameters
    ----------
    descriptor : int
        Open for reading.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._taken = False

    def __enter__(self) -> ReadLease:
        if not hasattr(fcntl, "F_SETLEASE"):
            return self
        try:
            # The signal that says that somebody waits would end the process by default (SIGIO).
            fcntl.fcntl(self._descriptor, _F_SETSIG, signal.SIGURG)
            fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        except OSError:
            return self
        self._taken = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._taken:
            self._taken = False
            fcntl.fcntl(self._descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)

    @property
    def held(self) -> bool:
        """Whether the file is as long as it was, and nobody waits to change that."""
        if not self._taken:
            return False
        kept: bool = fcntl.fcntl(self._descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK
        return kept
