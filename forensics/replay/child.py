"""The child process of a replay: start it, feed it, watch it, believe only what fits the types."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from forensics.domain.replay import ReplayResult, ReplayStatus
from forensics.replay.answer import SANDBOX, read_answer

WORKER = Path(__file__).parent / "worker" / "__main__.py"
MAX_ANSWER_BYTES = 8 << 20
"""More than this from the child is not an answer: observations hold at most 200 layers."""
CHUNK_BYTES = 1 << 16
STDERR_CHUNKS = 4
"""What is kept of the child's stderr: the last chunks, however much it prints."""


class Child:
    """The worker process with its deadline, output cap and private folder.

    Parameters
    ----------
    message : dict
        What the worker is asked, as JSON.
    device : str
        ``auto``, ``cpu`` or ``gpu``.
    timeout : float
        Seconds of wall clock.
    progress : callable
        Takes one line at a time.
    """

    def __init__(
        self,
        message: dict[str, Any],
        device: str,
        timeout: float,
        progress: Callable[[str], None],
    ) -> None:
        self._message, self._device, self._timeout = message, device, timeout
        self._progress = progress
        self._last: dict[str, Any] | None = None
        self._done = False
        self._overflow = False
        self._stderr: deque[bytes] = deque(maxlen=STDERR_CHUNKS)

    def run(self) -> ReplayResult:
        """Start it, feed it, follow it; whatever it does, the outcome is a result."""
        deadline = time.monotonic() + self._timeout
        with tempfile.TemporaryDirectory(
            prefix="forensics-replay-", ignore_cleanup_errors=True
        ) as folder:
            process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=_environment(folder, self._device),
                start_new_session=os.name == "posix",
            )
            with self._listening(process) as lines:
                self._feed(process)
                in_time = self._follow(process, lines, deadline)
        return self._result(process.returncode, not in_time, self._tail())

    @contextmanager
    def _listening(self, process: subprocess.Popen[bytes]) -> Iterator[queue.Queue[bytes | None]]:
        """Read both pipes in threads; in the end nothing of the child is left."""
        lines: queue.Queue[bytes | None] = queue.Queue()
        threads = [
            threading.Thread(target=self._read_lines, args=(process, lines), daemon=True),
            threading.Thread(target=self._read_errors, args=(process,), daemon=True),
        ]
        try:
            for thread in threads:
                thread.start()
            yield lines
        finally:
            _kill(process)
            process.wait()
            for thread in threads:
                thread.join(2)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(self._message).encode())
        with suppress(BrokenPipeError):
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
            _kill(process)

    def _read_errors(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        self._stderr.extend(_chunks(process.stderr))

    def _tail(self) -> str:
        """Last line that the child wrote to stderr."""
        text = b"".join(self._stderr.copy()).decode("utf-8", "replace")
        lines = text.strip().splitlines()
        return lines[-1][:300] if lines else ""

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict):
            return
        if isinstance(message.get("progress"), str):
            self._progress(message["progress"][:200])
        for key in ("partial", "answer"):
            if isinstance(message.get(key), dict):
                self._last, self._done = message[key], key == "answer"

    def _result(self, code: int, timed_out: bool, tail: str) -> ReplayResult:
        if self._done and self._last is not None:
            return read_answer(self._last)
        if timed_out:
            why = f"the replay was stopped after {self._timeout:g} s"
        elif self._overflow:
            why = "the replay sent more than it may"
        else:
            why = f"the replay's process ended without an answer ({_ending(code)})"
            why += f": {tail}" if tail else ""
        if self._last is not None and self._last.get("status") == "reproduced":
            kept = read_answer(
                {**self._last, "reason": f"{why}; what was found until then is kept"}
            )
            if kept.status is ReplayStatus.REPRODUCED:
                return kept
        return ReplayResult(status=ReplayStatus.CRASHED, reason=why, sandbox=SANDBOX)


def _chunks(pipe: IO[bytes]) -> Iterator[bytes]:
    """Read an unbuffered pipe to its end, or until it is closed under the reader."""
    with suppress(OSError, ValueError):
        while chunk := pipe.read(CHUNK_BYTES):
            yield chunk


def _environment(folder: str, device: str) -> dict[str, str]:
    env = dict(os.environ)
    env.update(TMPDIR=folder, TF_CPP_MIN_LOG_LEVEL=env.get("TF_CPP_MIN_LOG_LEVEL", "2"))
    if device == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = "-1"
    return env


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the child with everything it started, and what it left behind when it has ended."""
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
