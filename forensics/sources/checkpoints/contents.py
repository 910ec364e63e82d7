"""What the reader of one checkpoint hands on: statistics, counters, settings, its files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forensics.domain.run import InputFile, InputState, ReadWarning, TensorStats
from forensics.errors import Damaged
from forensics.sources.checkpoints.steps import Counters
from forensics.sources.storage.blob import NotRegular

_LISTED = 20
"""Warnings per checkpoint that are listed one by one; the rest is counted."""


@dataclass(slots=True)
class Contents:
    """Filled by a reader; ``damaged`` once anything of the checkpoint could not be trusted."""

    tensors: list[TensorStats] = field(default_factory=list)
    counters: Counters = field(default_factory=lambda: Counters())
    config: dict[str, Any] = field(default_factory=dict)
    damaged: bool = False
    inputs: list[InputFile] = field(default_factory=list)
    warnings: list[ReadWarning] = field(default_factory=list)
    unlisted: int = 0
    verifiable: bool = True
    """Whether the format carries checksums of the values."""
    states: dict[str, InputState] = field(default_factory=dict)
    """Files that are not as they should be."""

    def fail(self, error: Damaged) -> None:
        """Record that something is broken."""
        self._warn(ReadWarning(error.path, error.offset, error.kind, error.detail))

    def lose(self, path: str, kind: str, detail: str) -> None:
        """Record that something is missing, or broken at no byte that could be named."""
        self._warn(ReadWarning(path, None, kind, detail))

    def _warn(self, warning: ReadWarning) -> None:
        self.damaged = True
        limit = warning.kind == "limit"
        state = InputState.LIMIT if limit else InputState.DAMAGED
        if self.states.get(warning.path) is not InputState.LIMIT:
            self.states[warning.path] = state
        if len(self.warnings) < _LISTED:
            self.warnings.append(warning)
        else:
            self.unlisted += 1

    def state_of(self, name: str) -> InputState:
        """Whether anything of a file was found to be broken so far."""
        return self.states.get(name, InputState.COMPLETE)

    def refuse(self, name: str, kind: str, error: OSError | NotRegular) -> None:
        """Record a file that could not be opened."""
        slug = "not_regular" if isinstance(error, NotRegular) else "denied"
        self.warnings.append(ReadWarning(name, None, slug, refusal(error)))
        self.inputs.append(InputFile(name, kind, 0, None, InputState.DENIED))

    def conclude(self, path: str) -> None:
        """Say what was kept of a broken checkpoint, and how much was not listed."""
        if self.unlisted:
            self.warnings.append(
                ReadWarning(path, None, "more_damage", f"{self.unlisted} more of these")
            )
        if self.damaged:
            kept = f"statistics of {len(self.tensors)} tensors were kept"
            last = self.warnings[-1]
            self.warnings[-1] = ReadWarning(
                last.path, last.offset, last.kind, f"{last.detail}; {kept}"
            )


def refusal(error: OSError | NotRegular) -> str:
    """Why a file could not be opened, for people."""
    if isinstance(error, NotRegular):
        return "this is no regular file, it was not read"
    return f"it cannot be read: {error.strerror or type(error).__name__}"


def single_integer(stats: TensorStats | None) -> int | None:
    """Value of a tensor that is one integer."""
    if stats is None or stats.count != 1 or "int" not in stats.dtype:
        return None
    return int(stats.max)


def single_float(stats: TensorStats | None) -> float | None:
    """Value of a tensor that is one finite number, as short as its precision allows."""
    if stats is None or stats.count != 1 or stats.bad or stats.dtype in ("string", "bool"):
        return None
    return shortest(stats.max)


def shortest(value: float) -> float:
    """0.001 for 0.0010000000474974513: the shortest decimal of what once was a float32."""
    with np.errstate(over="ignore"):
        narrow = np.float32(value)
    return float(str(narrow)) if float(narrow) == value else value
