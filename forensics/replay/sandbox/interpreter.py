"""Another interpreter for the worker: whether it starts, is new enough and has TensorFlow."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from forensics.replay.sandbox.last_words import last_words

OLDEST = (3, 9)
"""Syntax of the worker."""
_SECONDS = 60
# in the syntax of every Python there is: an old one must be able to say that it is
_QUESTION = """
import json, sys
found = None
if sys.version_info >= (3, 4):
    import importlib.util
    found = importlib.util.find_spec("tensorflow") is not None
print(json.dumps([list(sys.version_info[:3]), found]))
"""


def current() -> Path:
    """Return the interpreter that runs this."""
    return Path(sys.executable)


def located(python: Path) -> Path:
    """Path of an interpreter: as given, or found on the search path when it is a bare name."""
    if python.exists() or len(python.parts) > 1:
        # links stay as they are: an environment is known by the link to its interpreter
        return Path(os.path.abspath(python))  # noqa: PTH100
    found = shutil.which(str(python))
    return Path(found) if found else python


def refusal(python: Path) -> str | None:
    """Why the worker cannot run under an interpreter, in one line; None when it can."""
    name = f"--python {python}"
    python = located(python)
    if not python.is_file():
        return f"{name}: there is no such interpreter"
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", _QUESTION],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{name} does not start: {_brief(error)}"
    version, tensorflow = _answer(done.stdout)
    if version is None:
        said = last_words(done.stderr.decode("utf-8", "replace"))
        return f"{name} does not answer as a Python interpreter" + (f": {said}" if said else "")
    dotted = ".".join(map(str, version))
    if version[:2] < OLDEST:
        return f"{name} is Python {dotted}: a replay needs {'.'.join(map(str, OLDEST))} or newer"
    if not tensorflow:
        return f"{name} (Python {dotted}) has no TensorFlow"
    return None


def _brief(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer within {_SECONDS} s"
    return getattr(error, "strerror", None) or str(error)


def _answer(output: bytes) -> tuple[tuple[int, ...] | None, bool]:
    lines = output.strip().splitlines()
    try:
        version, tensorflow = json.loads(lines[-1])
        return tuple(int(part) for part in version), bool(tensorflow)
    except (IndexError, ValueError, TypeError):
        return None, False
