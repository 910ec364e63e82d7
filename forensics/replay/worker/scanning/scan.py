"""The failing batch of shuffled data, whose order nobody recorded: all batches, from one state."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from ..guilty_rows.row_search import RowSearch
from ..guilty_rows.rows import like
from ..stepping.failure import Failure, Moment
from ..stepping.search import KEEP, MARGIN, Search
from ..stepping.state import Snapshot
from ..stepping.stepper import Outcome, Stepper
from ..trials.trials import HORIZON
from .gradient_norm import GradientNorm, gradient_norm
from .reruns import Rerun, Reruns
from .scan_pass import HEALTHY_KEPT, OUTLYING, Scanned, ScanPass

SHARE, PASS_SHARE = 0.5, 0.6
"""Share of the time left that a scan takes, and of that what the pass without updates takes."""
ROWS_SHARE = 0.1
"""Share of the scan's time for the rows of one batch."""
RANKED, ASKED = 10, 3
"""Batches that are reported, and those whose rows are asked about."""


class Scan:
    """Finds the failing step by going over the data.

    Parameters
    ----------
    request : dict
        What the parent asked.
    search : Search
        Restores the start.
    stepper : Stepper
        Fetches batches and runs steps.
    deadline : float
        `time.monotonic()` of the whole replay.
    device : str
        What the steps run on, for the report.
    progress : callable
        Takes one line at a time.
    """

    def __init__(
        self, request: Dict[str, Any], search: Search, stepper: Stepper, deadline: float,
        device: str, progress: Callable[[str], None],
    ) -> None:  # fmt: skip
        self.request, self.search, self.stepper = request, search, stepper
        self.device, self.progress = device, progress
        self.seconds = SHARE * max(0.0, deadline - time.monotonic())
        self.end = time.monotonic() + self.seconds
        self.notes: List[str] = []
        self.fields: Optional[Dict[str, Any]] = None
        self.reruns: List[Rerun] = []
        self.entry: Optional[Dict[str, Any]] = None
        """Entry among the ranked batches of the one that is the failing step."""

    def run(self) -> Optional[Failure]:
        """Scan, then run the data again in other orders; returns the failing step if there is."""
        if not any(self.search.enter(start) for start in self.search.starts()):
            self.notes.append("no scan: no start could be restored")
            return None
        state = self.stepper.state
        start = state.snapshot()
        with gradient_norm(self.stepper) as norm:
            passed = ScanPass(
                self.stepper, start, norm, time.monotonic() + PASS_SHARE * self.seconds
            )
            self.progress("scanning the data from %s, without updates" % self._where())
            passed.run(self._most(), self.search.first_step)
            ranked = passed.ranked()[:RANKED]
            rows = self._rows(passed, ranked, start, norm)
        state.load(start)
        again = self._again(passed, start)
        self._report(passed, ranked, rows, again)
        return self._failure(passed, start, again)

    def attempts(self, mode: str) -> List[Dict[str, Any]]:
        """Reruns in other orders, as attempts to reproduce the failure."""
        return [rerun.attempt(mode, self.device) for rerun in self.reruns]

    def _where(self) -> str:
        started = self.search.started_from
        return Path(started).name if started else "the built state"

    def _most(self) -> int:
        """Batches of a pass where the data does not end by itself: those that were trained."""
        return int(self.request["last_step"]) + MARGIN + 1

    # -- rows
    def _rows(
        self, passed: ScanPass, ranked: List[Scanned], start: Snapshot, norm: GradientNorm
    ) -> Dict[int, List[int]]:
        """Rows of the batches that fail or stand out, by place in the pass."""
        rows: Dict[int, List[int]] = {}
        for scanned in ranked[:ASKED]:
            batch = passed.batch_of(scanned.index)
            if batch is None or (scanned.symptom is None and scanned.score < OUTLYING):
                continue
            end = min(self.end, time.monotonic() + ROWS_SHARE * self.seconds)
            search = RowSearch(self.stepper, start, batch, _same(passed, scanned, norm), end)
            others = [("a healthy batch of the scan", b) for b in passed.healthy if b is not batch]
            rows[scanned.index] = search.run([], others[:2]).samples
        return rows

    # -- other orders
    def _again(self, passed: ScanPass, start: Snapshot) -> Reruns:
        reruns = Reruns(
            self.stepper, start, self.request["loss_limit"], KEEP, self.end
        )  # fmt: skip
        if self.request["symptom"] != "none" and passed.seen:
            self.progress("running the data again in other orders")
            trained = int(self.request["last_step"]) + MARGIN - self._first()
            reruns.run(len(passed.seen), max(len(passed.seen), trained))
        self.reruns = reruns.done
        return reruns

    def _first(self) -> int:
        """Step that the start is the state of."""
        name = self.search.started_from
        return next((int(s["step"]) for s in self.search.starts() if s["name"] == name), 0)

    # -- answers
    def _report(
        self, passed: ScanPass, ranked: List[Scanned], rows: Dict[int, List[int]], again: Reruns
    ) -> None:
        failed = sum(r.symptom is not None for r in again.done)
        self.fields = {
            "started_from": self.search.started_from,
            "batches": len(passed.seen), "complete": passed.complete,
            "ranked": [_entry(scanned, rows.get(scanned.index, [])) for scanned in ranked],
            "reruns": len(again.done), "reproduced": failed,
        }  # fmt: skip
        if not passed.complete:
            why = passed.trouble or "the time ended"
            self.notes.append("the scan is not complete: %s" % why)
        if passed.norm.trouble is not None:
            self.notes.append(passed.norm.trouble)

    def _failure(self, passed: ScanPass, start: Snapshot, again: Reruns) -> Optional[Failure]:
        if self.request["symptom"] == "none":
            self._healthy_run(passed)
            return None
        rerun = again.first_failed()
        if passed.failing:
            return self._by_itself(passed, start)
        if rerun is not None:
            return self._after_updates(passed, rerun, len(again.done))
        self.notes.append(
            "no batch of %d fails by itself from %s, and %d reruns in other orders did not fail"
            % (len(passed.seen), self._where(), len(again.done))
        )
        return None

    def _healthy_run(self, passed: ScanPass) -> None:
        failing = sum(s.symptom is not None for s in passed.seen)
        self.notes.append(
            "a scan of %d batches found %s" % (len(passed.seen), "%d that fail" % failing)
            if failing
            else "a scan found no batch that fails among %d" % len(passed.seen)
        )

    def _by_itself(self, passed: ScanPass, start: Snapshot) -> Failure:
        scanned, batch, outcome = passed.failing[0]
        assert self.fields is not None and scanned.symptom is not None
        step = self._logged_step()
        self.entry = next(e for e in self.fields["ranked"] if e["batch"] == scanned.index)
        count = sum(s.symptom is not None for s in passed.seen)
        self.notes.append(
            "the failing batch was found by a scan, not by its step: batch %d of this pass over "
            "the data fails from %s%s; step %d is what the logs name"
            % (scanned.index, self._where(), " (the first of %d)" % count if count > 1 else "",
               step)
        )  # fmt: skip
        lead = min(step, KEEP - 1) if passed.healthy else 0
        pinned = dict(zip(range(step - lead, step), itertools.cycle(passed.healthy)))
        failure = self._pinned(passed, (step, start, batch), outcome, scanned.symptom, pinned)
        failure.trial_start = (step - lead, start)
        if passed.healthy:
            failure.healthy = (start, passed.healthy[0])
        return failure

    def _after_updates(self, passed: ScanPass, rerun: Rerun, reruns: int) -> Failure:
        assert rerun.outcome is not None and rerun.symptom is not None
        step = self._logged_step()
        self.notes.append(
            "no batch fails by itself from %s, but %s (%d of %d reruns in other orders failed); "
            "step %d is what the logs name"
            % (self._where(), rerun.said(),
               sum(r.symptom is not None for r in self.reruns), reruns, step)
        )  # fmt: skip
        moments = list(rerun.recent)[-(step + 1) :]
        shift = step - moments[-1][0]
        pinned = {at + shift: batch for at, _, batch in moments}
        last: Moment = (step, moments[-1][1], moments[-1][2])
        failure = self._pinned(passed, last, rerun.outcome, rerun.symptom, pinned)
        failure.trial_start = (moments[0][0] + shift, moments[0][1])
        if len(moments) > 1:
            failure.healthy = moments[-2][1:]
        return failure

    def _pinned(
        self, passed: ScanPass, moment: Moment, outcome: Outcome, symptom: str,
        before: Dict[int, Any],
    ) -> Failure:  # fmt: skip
        """Failing step, the batches before it as they were run, and healthy ones after it."""
        step = moment[0]
        self.stepper.pin({**before, step: moment[2]})
        if passed.healthy:
            after = range(step + 1, step + HORIZON + HEALTHY_KEPT)
            self.stepper.pin(dict(zip(after, itertools.cycle(passed.healthy))))
        failure = Failure(moment, outcome, symptom)
        failure.losses = [passed.usual("loss")[0]]
        return failure

    def _logged_step(self) -> int:
        step = self.request.get("failing_step")
        return max(0, int(self.request["last_step"] if step is None else step))


def _same(
    passed: ScanPass, scanned: Scanned, norm: GradientNorm
) -> Callable[[Outcome], bool]:  # fmt: skip
    """Whether an outcome is that of a batch of the scan: it fails, or it stands out as far."""
    if scanned.symptom is not None:
        failed = next(o for s, _, o in passed.failing if s is scanned)
        return like(failed)
    limits = {n: c + OUTLYING * s for n, (c, s) in _usual(passed)}

    def stands_out(outcome: Outcome) -> bool:
        values = {"loss": outcome.loss, "norm": norm.take()}
        return any(v is not None and v > limits[n] for n, v in values.items())

    return stands_out


def _usual(passed: ScanPass) -> Iterator[Tuple[str, Tuple[float, float]]]:
    for name in ("loss", "norm"):
        yield name, passed.usual(name)


def _entry(scanned: Scanned, rows: List[int]) -> Dict[str, Any]:
    return {
        "batch": scanned.index, "loss": scanned.loss, "gradient_norm": scanned.norm,
        "non_finite": scanned.symptom is not None, "rows": rows,
    }  # fmt: skip
