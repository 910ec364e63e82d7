"""Faults of the operating system at every call that a reader makes, and files that shrink."""

from __future__ import annotations

import errno
import io
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from forensics.errors import InputChanged, NothingToAnalyze
from forensics.sources.events.tiers import SWITCH
from tests.damage.contract import write
from tests.damage.specimens import (
    EVENTS,
    Observation,
    Specimen,
    events,
    observe,
    observe_by_both,
    specimens,
)

_CALLS = ("open", "stat", "fstat", "lstat", "scandir", "read", "pread")
_MOST = 40
"""Calls of which each is made to fail."""
FAULTS: dict[str, Callable[[Any, Sequence[Any]], Any]] = {}
"""By name: what a call does instead, given the real function and its arguments."""


def _fault(name: str) -> Callable[[Callable[[Any, Sequence[Any]], Any]], None]:
    def register(function: Callable[[Any, Sequence[Any]], Any]) -> None:
        FAULTS[name] = function

    return register


@_fault("EIO")
def _eio(function: Any, arguments: Sequence[Any]) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@_fault("ESTALE")
def _estale(function: Any, arguments: Sequence[Any]) -> Any:
    raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))


@_fault("EACCES")
def _eacces(function: Any, arguments: Sequence[Any]) -> Any:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@_fault("short read")
def _short(function: Any, arguments: Sequence[Any]) -> Any:
    answer = function(*arguments)
    return answer[: len(answer) // 2] if isinstance(answer, bytes) else answer


@_fault("nothing more to read")
def _empty(function: Any, arguments: Sequence[Any]) -> Any:
    answer = function(*arguments)
    return b"" if isinstance(answer, bytes) else answer


class _Counter:
    """Counts the calls of all functions together, and lets one of them fail."""

    def __init__(self, hit: int, fault: Callable[[Any, Sequence[Any]], Any] | None) -> None:
        self.calls, self._hit, self._fault = 0, hit, fault

    def wrap(self, function: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            index = self.calls
            self.calls += 1
            if index == self._hit and self._fault is not None:
                return self._fault(lambda *a: function(*a, **named), arguments)
            return function(*arguments, **named)

        return call


@contextmanager
def _counting(counter: _Counter) -> Iterator[None]:
    with ExitStack() as stack:
        for name in _CALLS:
            function = getattr(os, name)
            stack.enter_context(mock.patch.object(os, name, counter.wrap(function)))
        stack.enter_context(mock.patch.object(io, "FileIO", _faulty_file(counter)))
        yield


def _faulty_file(counter: _Counter) -> type[io.FileIO]:
    """Files whose ``readinto`` may fail, or come to an end early."""

    class FaultyFile(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            read = counter.wrap(lambda size: os.read(self.fileno(), size))
            data: bytes = read(len(memoryview(buffer).cast("B")))
            memoryview(buffer).cast("B")[: len(data)] = data
            return len(data)

    return FaultyFile


def every_call(name: str, folder: str, kinds: Sequence[str]) -> list[str]:
    """What went wrong with a specimen, one fault at a time at each call; nothing, in the end."""
    root, specimen, wrong = Path(folder), small(specimens()[name]), []
    write(root, specimen.files)
    counter = _Counter(-1, None)
    truth = specimen.observe(root)
    with _counting(counter):
        specimen.observe(root)
    assert counter.calls > 3
    for kind in kinds:
        fault = FAULTS[kind]
        if specimen.sniffed and kind == "nothing more to read":
            continue
        for hit in _some(range(counter.calls)):
            said = _one(specimen, root, truth, _Counter(hit, fault))
            if said:
                wrong.append(f"{name}: {kind} at call {hit}: {said}")
    return wrong


def _some(calls: range) -> Sequence[int]:
    """All of few calls; of many, the first and some that are spread over the rest."""
    return calls if len(calls) <= _MOST else [*calls[:10], *calls[10 :: len(calls) // 20]]


def small(specimen: Specimen) -> Specimen:
    """The specimen with fewer events: a fault is one of a call, not of a size."""
    if not specimen.name.startswith("events") or specimen.packed:
        return specimen
    found = replace(specimen, files={**specimen.files, EVENTS: events(40)})
    if specimen.observe is observe_by_both:
        # A fault hits one of the two only.
        os.environ[SWITCH] = "1"
        return replace(found, observe=observe)
    return found


def _one(specimen: Specimen, root: Path, truth: Observation, counter: _Counter) -> str:
    try:
        with _counting(counter):
            found = specimen.observe(root)
    except (NothingToAnalyze, InputChanged):
        # A clean answer; the second says to read the run again.
        return ""
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    # Shards whose map cannot be read are read by themselves.
    if specimen.checked and found.values - truth.values:
        return f"invented {list((found.values - truth.values).items())[:2]}"
    if truth.values - found.values and not found.complains:
        return f"silently lost {list((truth.values - found.values).items())[:2]}"
    return ""


def shrinking(path: str, rounds: int) -> int:
    """Read a log while another process cuts and restores it; returns how many rounds survived."""
    from forensics.sources.logdir import read

    target = Path(path)
    content, real = target.read_bytes(), mmap.mmap
    for index in range(rounds):
        target.write_bytes(content)
        size = len(content) * index // rounds
        cutters: list[subprocess.Popen[bytes]] = []

        class Mapped(real):  # type: ignore[misc, valid-type]
            def __new__(cls, *arguments: Any, **named: Any) -> Any:
                found = super().__new__(cls, *arguments, **named)
                cutters.append(_cut(target, size))  # noqa: B023
                # Either it is cut now, or whoever cuts it has to wait until it is mapped no more.
                time.sleep(0.3)
                return found

        def pread(descriptor: int, count: int, offset: int) -> bytes:
            if offset and not cutters:  # noqa: B023
                cutters.append(_cut(target, size))  # noqa: B023
                cutters[0].wait()  # noqa: B023
            return _PREAD(descriptor, count, offset)

        with mock.patch.object(mmap, "mmap", Mapped), mock.patch.object(os, "pread", pread):
            run = read(target.parent)
        for cutter in cutters:
            cutter.wait()
        if cutters and sum(map(len, run.series)) < rounds:
            assert run.inputs
    return rounds


_PREAD = os.pread


def _cut(path: Path, size: int) -> subprocess.Popen[bytes]:
    code = "import os, sys; os.truncate(sys.argv[1], int(sys.argv[2]))"
    return subprocess.Popen([sys.executable, "-S", "-E", "-c", code, str(path), str(size)])
