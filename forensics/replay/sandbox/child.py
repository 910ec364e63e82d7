"""The child process of a replay: start it, feed it, watch it, believe only what fits the types."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from forensics.domain.replay import ReplayResult, ReplayStatus
from forensics.replay.answer import read_answer
from forensics.replay.sandbox import family
from forensics.replay.sandbox.containment import Containment
from forensics.replay.sandbox.interpreter import refusal
from forensics.replay.sandbox.last_words import last_words
from forensics.replay.sandbox.memory_watch import MemoryWatch

WORKER = Path(__file__).parents[1] / "worker" / "__main__.py"
MAX_ANSWER_BYTES = 8 << 20
"""More than this from the child is not an answer: observations hold at most 200 layers."""
CHUNK_BYTES = 1 << 16
STDERR_BYTES = 1 << 17
"""What is kept of the child's stderr: its end, however much it prints."""
GRACE = 5.0
"""Seconds that the launcher gets to end all descendants; it needs milliseconds."""


class Child:
    """The worker process with its deadline, memory and output limits and private folder.

    Parameters
    ----------
    message : dict
        What the worker is asked, as JSON.
    containment : Containment
        What it may do.
    progress : callable
        Takes one line at a time.
    """

    def __init__(
        self,
        message: dict[str, Any],
        containment: Containment,
        progress: Callable[[str], None],
    ) -> None:
        self._message, self._containment = message, containment
        self._progress = progress
        self._last: dict[str, Any] | None = None
        self._done = False
        self._overflow = False
        self._stderr = b""
        self._layers: dict[str, list[str]] | None = None
        self._listened = False
        self._memory: MemoryWatch | None = None

    def run(self, take: Callable[[ReplayResult, Path], ReplayResult] | None = None) -> ReplayResult:
        """Start it, feed it, follow it; whatever it does, the outcome is a result.

        Parameters
        ----------
        take : callable, optional
            Completes the result from the child's private folder, before that is removed.
        """
        python = self._containment.python
        why = refusal(python) if python is not None else None
        if why is not None:
            return ReplayResult(status=ReplayStatus.NOT_RUN, reason=why)
        deadline = time.monotonic() + self._containment.timeout
        with tempfile.TemporaryDirectory(
            prefix="forensics-replay-", ignore_cleanup_errors=True
        ) as folder:
            # the one place where every containment lets it write
            private = os.path.realpath(folder)
            self._message["artefacts"] = private
            process = self._containment.start(WORKER, private)
            with self._listening(process) as lines:
                in_time = self._follow(process, lines, deadline)
            result = self._result(process.returncode, not in_time)
            result = take(result, Path(private)) if take is not None else result
        return replace(result, sandbox=self._containment.layers(self._layers))

    @contextmanager
    def _listening(self, process: subprocess.Popen[bytes]) -> Iterator[queue.Queue[bytes | None]]:
        """Serve the three pipes in threads; in the end nothing of the child is left."""
        lines: queue.Queue[bytes | None] = queue.Queue()
        threads = [
            threading.Thread(target=self._feed, args=(process,), daemon=True),
            threading.Thread(target=self._read_lines, args=(process, lines), daemon=True),
            threading.Thread(target=self._read_errors, args=(process,), daemon=True),
        ]
        limit = self._containment.memory_limit
        if limit is not None:
            self._memory = MemoryWatch(process.pid, limit, lambda: _end(process))
        try:
            for thread in threads:
                thread.start()
            if self._memory is not None:
                self._memory.start()
            yield lines
        finally:
            if self._memory is not None:
                self._memory.stop()
            _end(process)
            for thread in threads:
                thread.join(2)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with suppress(OSError):
                        pipe.close()

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        """Hand over the request: in a thread, for a child may never read it."""
        assert process.stdin is not None
        with suppress(OSError, ValueError):
            left = memoryview(json.dumps(self._message).encode())
            while left:
                left = left[process.stdin.write(left) or 0 :]
        with suppress(OSError, ValueError):
            process.stdin.close()

    def _follow(
        self, process: subprocess.Popen[bytes], lines: queue.Queue[bytes | None], deadline: float
    ) -> bool:
        """Take lines until the answer or the end of the child; False when the time ran out."""
        while not self._done:
            try:
                line = lines.get(timeout=max(0.0, min(deadline - time.monotonic(), 0.5)))
            except queue.Empty:
                if time.monotonic() >= deadline:
                    return False
                # a process that the child left behind may hold the pipe open
                if process.poll() is not None:
                    return True
                continue
            if line is None:
                return self._ended(process, deadline)
            self._take(line)
        return True

    @staticmethod
    def _ended(process: subprocess.Popen[bytes], deadline: float) -> bool:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _read_lines(
        self, process: subprocess.Popen[bytes], lines: queue.Queue[bytes | None]
    ) -> None:
        """Hand over whole lines; stop reading, and the child with it, when it sends too much."""
        assert process.stdout is not None
        seen, rest = 0, b""
        for chunk in _chunks(process.stdout):
            seen += len(chunk)
            *whole, rest = (rest + chunk).split(b"\n")
            if seen > 4 * MAX_ANSWER_BYTES or len(rest) > MAX_ANSWER_BYTES:
                self._overflow = True
                break
            for line in whole:
                lines.put(line)
        lines.put(None)
        if self._overflow:
            _end(process)

    def _read_errors(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        for chunk in _chunks(process.stderr):
            self._stderr = (self._stderr + chunk)[-STDERR_BYTES:]

    def _take(self, line: bytes) -> None:
        first, self._listened = not self._listened, True
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict):
            return
        if first and os.name == "posix" and "layers" in message:
            # written before any foreign code was loaded, which could forge only later lines
            self._layers = {key: list(message[key]) for key in ("layers", "missing")}
        if isinstance(message.get("progress"), str):
            self._progress(message["progress"][:200])
        for key in ("partial", "answer"):
            if isinstance(message.get(key), dict):
                self._last, self._done = message[key], key == "answer"

    def _result(self, code: int, timed_out: bool) -> ReplayResult:
        if self._done and self._last is not None:
            return read_answer(self._last)
        why = self._why(code, timed_out)
        if self._last is not None and self._last.get("status") == "reproduced":
            kept = read_answer(
                {**self._last, "reason": f"{why}; what was found until then is kept"}
            )
            if kept.status is ReplayStatus.REPRODUCED:
                return kept
        return ReplayResult(status=ReplayStatus.CRASHED, reason=why)

    def _why(self, code: int, timed_out: bool) -> str:
        """Say how the child ended and what it said last."""
        if self._memory is not None and self._memory.exceeded:
            why = f"the replay ran out of memory: {self._memory.describe()}"
        elif timed_out:
            why = f"the replay was stopped after {self._containment.timeout:g} s"
        elif self._overflow:
            return "the replay sent more than it may"
        else:
            why = f"the replay's process ended without an answer ({_ending(code)})"
        said = last_words(self._stderr.decode("utf-8", "replace"))
        return f"{why}: {said}" if said else why


def _chunks(pipe: IO[bytes]) -> Iterator[bytes]:
    """Read an unbuffered pipe to its end, or until it is closed under the reader."""
    with suppress(OSError, ValueError):
        while chunk := pipe.read(CHUNK_BYTES):
            yield chunk


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child with everything it started, and what it left behind when it has ended."""
    if os.name != "posix":
        process.kill()
        process.wait()
        return
    with suppress(subprocess.TimeoutExpired):
        if process.poll() is None:
            process.terminate()
        process.wait(GRACE)
        return
    # the launcher itself does not answer: end what can be found
    family.end_descendants(process.pid)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
