"""One text: its lines given to those who know them, process by process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from forensics.domain.run import ReadWarning
from forensics.sources.logs.channels import channel_of
from forensics.sources.logs.curve import Curve, LogWriter
from forensics.sources.logs.keras_progress import KerasProgress
from forensics.sources.logs.loop_lines import LoopLines
from forensics.sources.logs.text_lines import HOLE

MOST_CHANNELS, MOST_TRAININGS = 64, 64
"""Processes and trainings of one file that are told apart."""


@dataclass(slots=True)
class _Process:
    """What one process printed."""

    loop: LoopLines
    keras: KerasProgress = field(default_factory=KerasProgress)


class TextLog:
    """Collects the curves of a text.

    Parameters
    ----------
    name : str
        Of the file, relative to the log directory.
    place : str
        See `LogWriter`.
    perhaps : bool
        Whether it may be prose.
    """

    def __init__(self, name: str, place: str, *, perhaps: bool = False) -> None:
        self._name, self._place, self._perhaps = name, place, perhaps
        self._processes: dict[str, _Process] = {}
        self._limits: list[str] = []
        self._unused: list[str] = []

    def take(self, lines: Iterable[str]) -> None:
        """Take lines."""
        for line in lines:
            if line == HOLE:
                self.gap()
                continue
            mark, text = channel_of(line)
            process = self._processes.get(mark)
            if process is None:
                if len(self._processes) >= MOST_CHANNELS:
                    self._limit(f"more than {MOST_CHANNELS} processes")
                    continue
                process = self._processes[mark] = _Process(LoopLines(perhaps=self._perhaps))
            if not process.keras.line(text):
                process.loop.line(text)

    def gap(self) -> None:
        """Note that a stretch of the text was left out: what was begun is not complete."""
        for process in self._processes.values():
            process.keras.interrupt()

    def _limit(self, what: str) -> None:
        if what not in self._limits:
            self._limits.append(what)

    def finish(self) -> tuple[list[LogWriter], list[ReadWarning], dict[str, Any]]:
        """Return writers, warnings and settings."""
        writers: list[LogWriter] = []
        warnings: list[ReadWarning] = []
        lengths: set[int | None] = set()
        several = len(self._processes) > 1
        for mark, process in self._processes.items():
            process.keras.finish()
            stem = f"{self._name}[{mark}]" if several and mark else self._name
            writers.extend(self._writers(stem, process))
            lengths.update(t.steps_per_epoch for t in process.keras.trainings)
            if process.keras.overflow or process.loop.overflow:
                self._limit("more numbers than are kept")
            if process.keras.undated is not None:
                detail = (
                    f"TerminateOnNaN stopped the training at batch {process.keras.undated} of an "
                    "epoch that the text does not tell"
                )
                warnings.append(ReadWarning(self._name, None, "undated", detail))
        warnings.extend(
            ReadWarning(
                self._name,
                None,
                "not_used",
                f"a loop prints `{tag}` as NaN or Inf, of which the progress that Keras prints "
                "shows nothing: which training that is, is not known",
            )
            for tag in dict.fromkeys(self._unused)
        )
        warnings.extend(
            ReadWarning(self._name, None, "limit", f"{what}: the rest was left")
            for what in self._limits
        )
        known = lengths.pop() if len(lengths) == 1 else None
        return writers, warnings, {} if known is None else {"steps_per_epoch": known}

    def _writers(self, stem: str, process: _Process) -> Iterator[LogWriter]:
        groups = [training.curves() for training in process.keras.trainings]
        groups = [group for group in groups if any(c.steps for c in group)]
        if len(groups) > MOST_TRAININGS:
            self._limit(f"more than {MOST_TRAININGS} trainings")
            del groups[MOST_TRAININGS:]
        others = [curve for curve in process.loop.curves() if curve.steps]
        if others:
            first = groups[0] if groups else []
            self._unused.extend(_only_in_loops([c for g in groups for c in g], others))
            groups[:1] = [[*first, *_further(first, others)]]
        for index, group in enumerate(groups):
            name = stem if index == 0 else f"{stem}#{index + 1}"
            yield LogWriter(name, self._place, group)


def _only_in_loops(known: list[Curve], others: list[Curve]) -> Iterator[str]:
    """Tags of loops' lines that become NaN or Inf, and are not used because Keras showed them."""
    shown = {curve.tag for curve in known}
    bad = {curve.tag for curve in known if not all(map(isfinite, curve.values))}
    for curve in others:
        if curve.tag in shown - bad and not all(map(isfinite, curve.values)):
            yield curve.tag


def _further(known: list[Curve], others: list[Curve]) -> Iterator[Curve]:
    """Curves with tags of their own; a line of a callback repeats what Keras printed."""
    tags = {curve.tag for curve in known}
    for curve in others:
        if curve.tag not in tags:
            tags.add(curve.tag)
            yield curve
