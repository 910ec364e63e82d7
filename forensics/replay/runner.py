"""Parent side of a replay: start the child, feed it, watch it, believe only what fits the types."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forensics.domain.replay import ReplayResult, ReplayStatus
from forensics.domain.run import CheckpointStats, CheckpointStatus
from forensics.replay.answer import read_answer
from forensics.replay.request import ReplayRequest, parse_entry

WORKER = Path(__file__).parent / "worker" / "__main__.py"
MAX_ANSWER_BYTES = 32 << 20
"""More than this from the child is not an answer: observations hold at most 200 layers."""
STDERR_TAIL = 4000


def run_replay(request: ReplayRequest, progress: Callable[[str], None]) -> ReplayResult:
    """Replay in a child process; a crash, a hang or nonsense becomes a result, never an exception.

    Parameters
    ----------
    request : ReplayRequest
        What to replay.
    progress : callable
        Takes one line at a time.

    Raises
    ------
    UsageError
        When `request.entry` names no existing file or no function.
    """
    file, function = parse_entry(request.entry)
    child = _Child(_message(request, file, function), request, progress)
    return child.run()


def start_points(request: ReplayRequest) -> list[CheckpointStats]:
    """Clean checkpoints before the first bad step can have happened, the latest first.

    When a failure is dated by its loss alone, a clean checkpoint between the true origin and that
    date cannot exist, unless the values are laundered; the interval's upper end is therefore a
    safe bound.
    """
    run = request.run
    bound = _last_step(request) if request.symptom != "none" else None
    found = [
        c
        for c in run.checkpoints
        if c.status is CheckpointStatus.CLEAN
        and c.step is not None
        and (bound is None or c.step <= bound)
    ]
    poisoned = [
        c.step
        for c in run.checkpoints
        if c.status is CheckpointStatus.POISONED and c.step is not None
    ]
    if poisoned:
        found = [c for c in found if (c.step or 0) < min(poisoned)]
    return sorted(found, key=lambda c: (-(c.step or 0), c.path))


def _last_step(request: ReplayRequest) -> int:
    ends = [request.failing_step, request.interval[1] if request.interval else None]
    known = [e for e in ends if e is not None]
    return max(known) + request.step_offset if known else 0


def _message(request: ReplayRequest, file: Path, function: str) -> dict[str, Any]:
    root = Path(request.run.root)
    starts = start_points(request)
    if request.symptom == "diverged" and request.interval is not None:
        # a state from before the divergence began, not merely before it was beyond doubt
        calm = [c for c in starts if (c.step or 0) <= max(0, request.interval[0])]
        starts = calm or starts
    observed = starts[0].step if starts and starts[0].step is not None else 0
    return {
        "file": str(file),
        "function": function,
        "checkpoints": [
            {
                "path": str(root / c.path),
                "name": c.path,
                "step": (c.step or 0) + request.step_offset,
                "format": c.format.value,
            }
            for c in starts[:3]
        ],
        "last_step": _last_step(request),
        "observe_step": observed + request.step_offset,
        "symptom": request.symptom,
        "loss_limit": request.loss_limit,
        "device": request.device,
        # the child stops by itself and still answers; the parent's limit is for a child that hangs
        "seconds": max(5.0, request.timeout * 0.85 - 5.0),
    }


class _Child:
    """The worker process with its deadline, output cap and private folder."""

    def __init__(
        self, message: dict[str, Any], request: ReplayRequest, progress: Callable[[str], None]
    ) -> None:
        self._message, self._request, self._progress = message, request, progress
        self._last: dict[str, Any] | None = None
        self._done = False
        self._overflow = False

    def run(self) -> ReplayResult:
        with tempfile.TemporaryDirectory(prefix="forensics-replay-") as folder:
            errors = Path(folder) / "stderr"
            with errors.open("wb") as sink, self._process(folder, sink) as process:
                self._feed(process)
                reader = threading.Thread(target=self._listen, args=(process,), daemon=True)
                reader.start()
                timed_out = False
                try:
                    process.wait(self._request.timeout)
                except subprocess.TimeoutExpired:
                    timed_out = True
                    _kill(process)
                    process.wait()
                reader.join(10)
            tail = _tail(errors)
        return self._result(process.returncode, timed_out, tail)

    @contextmanager
    def _process(self, folder: str, sink: Any) -> Iterator[subprocess.Popen[bytes]]:
        process = subprocess.Popen(
            [sys.executable, "-I", str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            env=_environment(folder, self._request.device),
            start_new_session=os.name == "posix",
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                _kill(process)
                process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(self._message).encode())
            process.stdin.close()
        except BrokenPipeError:
            pass

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        seen = 0
        for line in iter(lambda: process.stdout.readline(MAX_ANSWER_BYTES + 1), b""):  # type: ignore[union-attr]
            seen += len(line)
            if seen > 4 * MAX_ANSWER_BYTES or len(line) > MAX_ANSWER_BYTES:
                self._overflow = True
                _kill(process)
                return
            self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
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
            why = f"the replay was stopped after {self._request.timeout:g} s"
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
        return ReplayResult(status=ReplayStatus.CRASHED, reason=why)


def _environment(folder: str, device: str) -> dict[str, str]:
    env = dict(os.environ)
    env.update(TMPDIR=folder, TF_CPP_MIN_LOG_LEVEL=env.get("TF_CPP_MIN_LOG_LEVEL", "2"))
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    if device == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = "-1"
    return env


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the child with everything it started."""
    try:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        process.kill()


def _ending(code: int) -> str:
    if code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _tail(path: Path) -> str:
    """Last line that the child wrote to stderr."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - STDERR_TAIL))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:300] if lines else ""
