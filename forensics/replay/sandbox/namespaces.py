"""A network of one's own with nothing in it: Linux user and network namespaces, without root."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000


def leave_network() -> None:
    """Move this process, which must have one thread, to an empty network; no way leads back.

    The user keeps its number, so that its files stay its own.

    Raises
    ------
    OSError
        Where the system has no such namespaces or does not let this user make one.
    """
    if sys.platform != "linux":
        raise OSError("there are no network namespaces")
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEW_USER | _NEW_NETWORK) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    # groups may only be mapped by one who can no longer change them
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
