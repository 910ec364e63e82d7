"""Run a reproducer in a fresh process: what was not seen to fail is not reported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Dict, Optional

from .header import FAILS, WORKS


class Proof:
    """How a script ended: it `fails` as it says, it `works`, or neither; `why` if not the first."""

    def __init__(self, fails: bool, why: str, works: bool = False) -> None:
        self.fails, self.why, self.works = fails, why, works


def prove(script: Path, seconds: float, settings: Optional[Dict[str, str]] = None) -> Proof:
    """Run a script with the interpreter of this process.

    Parameters
    ----------
    script : Path
        The reproducer, its data beside it.
    seconds : float
        After which it is stopped.
    settings : dict, optional
        Environment variables that differ from this process's.
    """
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **(settings or {})}
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-B", str(script)], cwd=str(script.parent), env=environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=max(1.0, seconds), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Proof(False, "it did not end within %.0f s" % seconds)
    said = ended.stdout.decode("utf-8", "replace").strip().splitlines()
    # Python ends with 1 for an uncaught error as well: the last line tells them apart
    if ended.returncode == 1 and said and said[-1] == FAILS:
        return Proof(True, "")
    if ended.returncode == 0 and said and said[-1] == WORKS:
        return Proof(False, WORKS, works=True)
    errors = ended.stderr.decode("utf-8", "replace").strip().splitlines()
    last = (said or errors or ["nothing"])[-1]
    if ended.returncode != 0 and errors:
        last = errors[-1]
    return Proof(False, "exit status %d: %s" % (ended.returncode, last[:200]))
