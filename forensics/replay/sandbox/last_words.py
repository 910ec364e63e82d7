"""What a process said last: the end of its output without what says nothing about its end."""

from __future__ import annotations

import re

LINES, WIDTH = 5, 300
"""Lines kept, and characters of each."""
_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_NOISE = re.compile(
    r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IW] "  # TensorFlow's log: information and warnings
    r"|[IW]\d{4} \d\d:\d\d:\d\d"  # the same of absl
    r"|WARNING: All log messages before absl"
    r"|To enable the following instructions"
    r"|(INFO|WARNING):(tensorflow|absl):"
    r"|Extension modules: )"
)
_FATAL = "Fatal Python error: "
_FRAME = re.compile(r'^File "(?P<file>.*)", line (?P<line>\d+) in (?P<function>.+)$')
_THREAD = re.compile(r"^(Current thread|Thread) 0x")


def last_words(output: str) -> str:
    """Last lines of a process's output, in one line; empty when it said nothing.

    Of a fatal error that Python's fault handler described: the error and the innermost frames.
    """
    lines = [line for line in map(_plain, output.splitlines()) if line and not _NOISE.match(line)]
    fatal = next((i for i in reversed(range(len(lines))) if _FATAL in lines[i]), None)
    kept = lines[-LINES:] if fatal is None else _stack(lines[fatal:])
    return " | ".join(line[:WIDTH] for line in kept)


def _plain(line: str) -> str:
    return _CONTROL.sub("", _ESCAPE.sub("", line)).strip()


def _stack(lines: list[str]) -> list[str]:
    """Keep the error and the innermost frames of the thread that met it."""
    current = next((i for i, line in enumerate(lines) if line.startswith("Current thread")), 0)
    frames = []
    for line in lines[current + 1 :]:
        found = _FRAME.match(line)
        if found is None:
            if _THREAD.match(line):
                break
            continue
        file = found["file"].replace("\\", "/").rpartition("/")[2]
        frames.append(f"in {found['function']} ({file}, line {found['line']})")
    return [lines[0][lines[0].index(_FATAL) :], *frames[: LINES - 1]]
