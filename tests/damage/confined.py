"""Work in a child process: what crashes, hangs or eats memory there is told, and harms no test.

Children are forked from a clean server, so that they have neither the threads nor the memory of the
process that runs the tests, and start in a millisecond.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

_ROOT = str(Path(__file__).resolve().parents[2])
_PRELOADED = (
    "numpy",
    "h5py",
    "ml_dtypes",
    "forensics.sources.logdir",
    "forensics.sources.checkpoints.scan",
    "tests.damage.contract",
    "tests.damage.warm",
)
"""Imported once, by the server."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of some work.

    Parameters
    ----------
    value : object
        What it returned, or the last thing that it reported before it died.
    error : str
        Traceback of an exception that escaped; why the child died; empty if it ended well.
    grown : int
        Bytes by which its peak of resident memory grew.
    """

    value: Any = None
    error: str = ""
    grown: int = 0


def confined(
    work: Callable[..., Any],
    *args: Any,
    seconds: float = 20.0,
    start: float = 180.0,
    memory: int | None = None,
) -> Outcome:
    """Run a function of a module in a child.

    Parameters
    ----------
    work : callable
        Called with ``args``; if it takes a keyword ``report``, that is a function which tells the
        parent how far it came.
    seconds : float
        Wall time until it is killed as hanging, between two reports.
    start : float
        The same before its first report or answer, where it may have to compile first.
    memory : int or None
        Bytes of address space that it may add to what the child has at its start.
    """
    ours, theirs = _context().Pipe(duplex=False)
    child = _context().Process(target=_work, args=(theirs, work, args, memory, dict(os.environ)))
    child.start()
    theirs.close()
    last, patience = Outcome(), start
    while True:
        if not ours.poll(patience):
            child.kill()
            child.join()
            return Outcome(last.value, f"hangs: no answer within {patience} s")
        patience = seconds
        try:
            message: tuple[bool, Outcome] = ours.recv()
        except EOFError:
            child.join()
            return Outcome(last.value, _death(child.exitcode))
        final, last = message
        if final:
            child.join()
            return last


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *_PRELOADED])
    # The server takes its path from the environment only.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_ROOT, before)))
    forkserver.ensure_running()
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
    return context


def _work(
    pipe: Connection,
    work: Callable[..., Any],
    args: Sequence[Any],
    memory: int | None,
    environment: Mapping[str, str],
) -> None:
    # Else it would be that of the server when it was started.
    os.environ.clear()
    os.environ.update(environment)
    before = _peak()
    if memory is not None:
        limit = _address_space() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        wants = "report" in work.__code__.co_varnames[: _arguments(work)]
        extra = {"report": lambda value: pipe.send((False, Outcome(value)))} if wants else {}
        outcome = Outcome(work(*args, **extra), "", _peak() - before)
    except BaseException:
        outcome = Outcome(None, traceback.format_exc(), _peak() - before)
    pipe.send((True, outcome))
    pipe.close()


def _arguments(work: Callable[..., Any]) -> int:
    return work.__code__.co_argcount + work.__code__.co_kwonlyargcount


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _address_space() -> int:
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[0]) * resource.getpagesize()
    except FileNotFoundError:
        return _peak()
