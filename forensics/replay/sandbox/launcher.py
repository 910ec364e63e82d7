"""Starts the worker, stays beside it, and leaves nothing of it behind (POSIX).

Runs in a small process of its own between the parent and the worker. Here, before any foreign code
is loaded, the worker gives up what it may not have. On Linux this process adopts every orphan among
the worker's descendants, so that one that left its process group is found and ended as well; it
ends them all when the worker ends, when it is told to (SIGTERM), and when the parent dies.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import Any, NoReturn

from forensics.replay.sandbox import family, landlock
from forensics.replay.sandbox.namespaces import leave_network

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_TOLD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_DEVICES = ("/dev/null", "/dev/nvidia*", "/dev/kfd", "/dev/dri/*")
"""What a confined worker may write to beside its folder: nothing is kept there."""


def main(order: dict[str, Any]) -> NoReturn:
    """Start the worker and wait for it; ends as the worker ended, by the same signal or code.

    Parameters
    ----------
    order : dict
        ``command``, ``folder`` (private, writable), ``foreign`` (give up network and writing),
        ``address_space`` (bytes or None), ``parent`` (pid).
    """
    _control(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != order["parent"]:
        os._exit(1)
    adopting = _control(_PR_SET_CHILD_SUBREAPER, 1) and family.known()
    watched = {signal.SIGCHLD, *_TOLD}
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    worker = os.fork()
    if worker == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)
        _become(order, adopting)
    _let_go_of_pipes()
    _wait(worker, watched)
    # the worker is not reaped yet: no other group can have taken its number
    for kill in (os.killpg, os.kill):
        with suppress(ProcessLookupError, PermissionError):
            kill(worker, signal.SIGKILL)
    status = os.waitpid(worker, 0)[1]
    if adopting:
        family.end_descendants(os.getpid())
    _end_like(status)


# -- the worker, before it is one
def _become(order: dict[str, Any], adopting: bool) -> NoReturn:
    try:
        os.setsid()
        _control(_PR_SET_PDEATHSIG, signal.SIGKILL)
        report = _give_up(order, adopting)
        os.write(1, json.dumps(report).encode() + b"\n")
        os.execv(order["command"][0], order["command"])
    except BaseException as error:
        os.write(2, f"the worker could not be started: {error}\n".encode(errors="replace"))
    os._exit(127)


def _give_up(order: dict[str, Any], adopting: bool) -> dict[str, list[str]]:
    """Give up what the worker may not have; tell which layers hold and which are missing."""
    layers: list[str] = []
    missing: list[str] = []

    def attempt(layer: str, act: Callable[[], object]) -> None:
        try:
            act()
        except (OSError, ValueError, AttributeError) as error:
            missing.append(f"{layer} ({error})")
        else:
            layers.append(layer)

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        # when the machine runs out of memory, the replay goes first
        Path("/proc/self/oom_score_adj").write_text("1000")
    if adopting:
        layers.append("supervisor that ends all descendants")
    else:
        layers.append("process group")
        missing.append("supervisor that ends descendants outside the process group")
    if order["address_space"]:
        size = int(order["address_space"])
        attempt("address space limit", lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)))
    if order["foreign"]:
        attempt("no network", leave_network)
        attempt("no writing outside the temporary folder", lambda: _confine(Path(order["folder"])))
    return {"layers": layers, "missing": missing}


def _confine(folder: Path) -> None:
    devices = [Path(found) for pattern in _DEVICES for found in glob(pattern)]  # noqa: PTH207
    landlock.confine([folder], devices)


# -- beside the worker
def _let_go_of_pipes() -> None:
    """Close this side's ends: the parent must see the end of the worker's output."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)


def _wait(worker: int, watched: set[signal.Signals]) -> None:
    """Wait for the worker's end, or for the order to end it; orphans that die are reaped."""
    while signal.sigwait(watched) == signal.SIGCHLD:
        with suppress(ChildProcessError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid == worker:
                    return
                os.waitpid(ended.si_pid, 0)


def _end_like(status: int) -> NoReturn:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF if os.WIFEXITED(status) else 1)


def _control(option: int, value: int) -> bool:
    """``prctl``: False where the system has none."""
    if sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0)
