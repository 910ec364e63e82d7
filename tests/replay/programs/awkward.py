"""Entry points that give no case, and cases whose steps do what steps should not."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any


def raises() -> Any:
    raise RuntimeError("no data on this machine")


def leaves() -> Any:
    sys.exit("usage: train.py OUTDIR")


def gives_nothing() -> Any:
    return None


def gives_a_number() -> Any:
    return 5


def without_batches() -> Any:
    return {"step": print}


def with_batches_in_a_list() -> Any:
    return {"step": print, "batch": [1, 2]}


not_callable = 5


def batch(step: int) -> int:
    return step


def exiting_case() -> Any:
    def step(number: int) -> float:
        if number == 2:
            sys.exit("loss is not finite")
        return 1.0

    return {"step": step, "batch": batch}


def dying_case() -> Any:
    def step(number: int) -> float:
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0

    return {"step": step, "batch": batch}


def endless_case() -> Any:
    def step(number: int) -> float:
        while number == 2:
            pass
        return 1.0

    return {"step": step, "batch": batch}


def unreadable_case() -> Any:
    def missing(number: int) -> int:
        raise FileNotFoundError("batches.npz")

    return {"step": print, "batch": missing}
