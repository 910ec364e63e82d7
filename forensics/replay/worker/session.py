"""The whole order of a replay: load, restore, step forward, localise, observe, try remedies."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
import traceback
import warnings
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Optional

from .channel import Channel
from .entry import CaseError, brief
from .sources import load_source

if TYPE_CHECKING:
    from .localise import Localised
    from .scan import Scan
    from .search import Failure
    from .state import Snapshot
    from .trace import Trace


def main() -> None:
    """Read the request from stdin, answer on stdout."""
    channel = Channel()
    request = json.loads(sys.stdin.read())
    sys.stdin = io.StringIO()
    warnings.simplefilter("ignore")
    session = Session(request, channel)
    try:
        answer = session.run()
    except CaseError as error:
        answer = {**session.answer, "status": "not_run", "reason": str(error)}
    except MemoryError:
        answer = session.broken("the replay ran out of memory")
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        answer = session.broken("the replay failed: " + brief(error))
    channel.answer(answer)
    # threads of the user's program must not keep the process alive
    sys.stderr.flush()
    os._exit(0)


class Session:
    """One replay.

    Parameters
    ----------
    request : dict
        ``source``, ``file``, ``function``, ``recording``, ``batch``, ``checkpoints`` (newest
        first: path, name, step, format), ``last_step``, ``failing_step``, ``clean_step``,
        ``clean_state``, ``finite_losses``, ``observe_step``, ``symptom``, ``loss_limit``,
        ``seconds``, ``device``, ``scan``.
    channel : Channel
        Where progress and answers go.
    """

    def __init__(self, request: Dict[str, Any], channel: Channel) -> None:
        self.request, self.channel = request, channel
        self.deadline = time.monotonic() + float(request["seconds"])
        self.notes: List[str] = []
        self.elsewhere: List[str] = []
        """What was done on another device than the replay's, and why."""
        self.scan: Optional[Scan] = None
        self.answer: Dict[str, Any] = {"status": "crashed", "reason": "the replay did not finish"}

    def run(self) -> Dict[str, Any]:
        """Do all of it and return the answer."""
        self.channel.progress("importing the program and TensorFlow")
        self.answer["source"] = self.request.get("source", "entry_point")
        self.case = load_source(self.request, self.notes)
        self._prepare()
        failure = self._met()
        self.answer["started_from"] = self.search.started_from
        if self.case.recording is not None:
            self.notes.extend(self.case.recording.fidelity(self.search.exact_losses))
        if failure is None:
            return self._not_reproduced()
        self.answer.update(
            status="reproduced", step=failure.step, symptom=failure.symptom, reason=""
        )
        self._repeat(failure)
        if self.scan is not None:
            self.reproduction.attempts.extend(self.scan.attempts(self.reproduction.mode))
        for part in (
            self._localise, self._rows, self._check_numerics, self._trials,
            # last: it runs single kernels on operands of its own making, and a kernel may abort
            self._op_alone,
        ):  # fmt: skip
            self.channel.partial(self.answer)
            with self._surviving(part.__name__.strip("_")):
                part(failure)
        self.answer["reason"] = "; ".join([*self.search.remarks(), *self.notes])
        self._degradations()
        return self.answer

    def _degradations(self) -> None:
        """Name the private parts of TensorFlow that were missed."""
        from .probes import degradations

        self.answer["degradations"] = [
            *self.answer.get("degradations", ()), *self.elsewhere, *degradations()
        ]  # fmt: skip

    def broken(self, why: str) -> Dict[str, Any]:
        """Return what is known although the rest failed."""
        if self.answer["status"] != "reproduced":
            return {**self.answer, "status": "crashed", "reason": why}
        return {**self.answer, "reason": "; ".join([*self.notes, why])}

    def _met(self) -> Optional[Failure]:
        """Find the failing step by stepping forward, or by a scan where that was asked for.

        Data that is shuffled anew has no batch of a step: stepping would run through others.
        """
        wanted, asked = self.request["symptom"] != "none", self.request.get("scan", False)
        if wanted and not (asked and self.stepper.reshuffled()):
            failure = self.search.run()
            if failure is not None and asked:
                self.notes.append("no scan was needed: the failing step was met by stepping")
            if failure is None and not asked and self.stepper.reshuffled():
                self.notes.append("the data set comes in another order each time: try --scan")
            if failure is not None:
                return failure
        if not wanted and not asked and self.case.recording is None:
            self.channel.progress("stepping past the end of the log")
            return self.search.after_the_end()
        return self._scan() if asked else None

    def _scan(self) -> Optional[Failure]:
        from .modes import configured
        from .scan import Scan

        scan = self.scan = Scan(
            self.request, self.search, self.stepper, self.deadline, self.device,
            self.channel.progress,
        )  # fmt: skip
        failure = None
        with self._surviving("scan"):
            failure = scan.run()
        self.notes.extend(scan.notes)
        self.answer["scan"] = scan.fields
        if failure is None:
            self.answer["attempts"] = scan.attempts(configured(self.stepper))
        return failure

    # -- preparation
    def _prepare(self) -> None:
        from .modes import detect_nan_on_gpu
        from .search import Search
        from .state import State
        from .stepper import Stepper

        self._environment()
        self.state = State(self.case.restore)
        self.stepper = Stepper(self.case, self.state)
        flagged = detect_nan_on_gpu(self.stepper, self.device)
        self.elsewhere.extend([flagged] if flagged is not None else [])
        built = self._build()
        self.search = Search(
            self.request, self.case, self.state, self.stepper, built, self.deadline, self.notes,
            self.channel.progress,
        )  # fmt: skip

    def _build(self) -> Snapshot:
        """Build the case on a batch; one batch of the wrong shape may be the failure itself.

        A recording holds no other batches than the last ones.
        """
        from .restore import BatchError, build
        from .stepper import EndOfData

        checkpoints = self.request["checkpoints"]
        begin = min(int(checkpoints[0]["step"]), self.request["observe_step"]) if checkpoints else 0
        refused = None
        recorded = self.case.recording.paths if self.case.recording is not None else ()
        for step in sorted({begin, 0, *list(recorded)[-1:]}, reverse=True):
            try:
                return build(self.case, self.state, self.stepper, self.stepper.batch(step))
            except EndOfData as error:
                if step == 0 and refused is None:
                    raise CaseError("the case has no batch for step 0: %s" % error) from error
            except BatchError as error:
                refused = "batch %d does not pass through the model: %s" % (step, error)
        raise CaseError(str(refused))

    def _environment(self) -> None:
        from . import keras_api, placement

        self.device = placement.choose(self.request["device"])
        self.answer["device"] = self.device
        keras = keras_api.describe([self.case.model, *self.case.restore.values()])
        self.answer["environment"] = placement.environment(self.device, keras)
        recording = getattr(self.case, "recording", None)
        then = recording.manifest.get("environment", {}) if recording is not None else {}
        other = placement.elsewhere(then.get("device"), self.device)
        if other is not None:
            self.notes.append(other)

    # -- what is done with a failure
    def _repeat(self, failure: Failure) -> None:
        """Run the failing step again, in its own mode and in others."""
        from .reproduce import Repeater

        self.channel.progress("reproducing step %d" % failure.step)
        self.repeater = Repeater(
            self.stepper, failure, self.device, self.request["loss_limit"], self.deadline
        )
        self.reproduction = self.repeater.run()
        self.answer.update(
            attempts=self.reproduction.attempts, determinism=self.reproduction.determinism,
            unreplayable_ops=self.reproduction.random_ops,
        )  # fmt: skip

    def _localise(self, failure: Failure) -> None:
        from .randomness import unreplayable

        found = self._traced(failure)
        trace = found.trace
        self._say_how_it_fails(failure, found)
        found = failure.found = self._asked_elsewhere(failure, found)
        if failure.symptom == "raised" and found.origin is None:
            self.notes.append("step %d %s" % (failure.step, failure.outcome.describe()))
        self.notes.extend(trace.troubles)
        self._degraded(trace.degradations)
        self.answer.update(
            origin=found.origin, other_origins=found.others, benign=found.benign,
            chain=found.chain, samples=found.rows,
            unreplayable_ops=sorted({*self.reproduction.random_ops,
                                     *unreplayable(trace.random_ops)}),
        )  # fmt: skip
        self._observe(failure, trace)

    def _degraded(self, what: List[str]) -> None:
        """Say once in the answer what an instrument could not do here."""
        said = self.answer.setdefault("degradations", [])
        said.extend(w for w in what if w not in said)

    def _traced(self, failure: Failure) -> Localised:
        """Trace the step op by op, where this version of TensorFlow lets us."""
        from . import placement, probes
        from .fallbacks import untraced
        from .localise import Localiser

        if probes.part(probes.OP_CALLBACKS) is None:
            return untraced(self.stepper, failure)
        self.channel.progress("tracing step %d op by op" % failure.step)
        localiser = Localiser(self.stepper, failure.before, failure.batch, failure.healthy)
        return placement.traced(
            self.stepper, self.device, failure.symptom != "diverged",
            lambda: localiser.run(failure.outcome), self.elsewhere,
        )  # fmt: skip

    def _say_how_it_fails(self, failure: Failure, found: Localised) -> None:
        """Compare what the step does op by op with what it does in its own mode."""
        mode, outcome = self.reproduction.mode, found.eager_outcome
        if mode == "eager" or self.case.opaque or failure.symptom == "diverged":
            return
        if not self.repeater.eager(self.reproduction, outcome):
            self.notes.append("op by op the step stays finite: only the %s mode fails" % mode)
        elif outcome.error is not None and failure.outcome.error is None:
            self.notes.append("op by op the step %s" % outcome.describe())

    def _asked_elsewhere(self, failure: Failure, found: Localised) -> Localised:
        """Let other instruments speak where the own trace is silent."""
        from .fallbacks import Fallbacks

        fallbacks = Fallbacks(
            self.stepper, failure, self.repeater, self.reproduction, self.channel.progress
        )
        with self._surviving("another instrument"):
            found = fallbacks.run(found)
        self.answer["instrument"] = fallbacks.instrument
        self.notes.extend(fallbacks.notes)
        return found

    def _observe(self, failure: Failure, trace: Trace) -> None:
        from . import observe

        with self._surviving("observation"):
            self.state.load(failure.before)
            self.answer["config"] = observe.config(self.case, self.state, failure.batch)
            self.stepper.own(failure.batch)
            after = self.state.snapshot()
            self.state.load(failure.before)
            self.answer["observation"] = {
                "step": failure.step,
                "loss": failure.outcome.loss,
                "layers": observe.layers(self.case, self.state, trace, failure.before, after),
                "batch": observe.batch_parts(self.stepper, failure.step, 0),
                "first_step_of_run": failure.step == 0,
            }

    def _rows(self, failure: Failure) -> None:
        """Name the rows of the batch that make the step fail."""
        from .rows import guilty_rows

        self.channel.progress("asking which rows make step %d fail" % failure.step)
        self.answer.update(guilty_rows(self.case, self.stepper, failure, self.deadline))
        if self.scan is not None and self.scan.entry is not None:
            self.scan.entry["rows"] = self.answer["samples"]

    def _op_alone(self, failure: Failure) -> None:
        """Run the op behind the failure by itself: whose bug it is, a script that shows it."""
        from .op_alone import OpAlone

        if failure.symptom != "diverged":
            alone = OpAlone(
                failure, self.reproduction.mode, self.device, self.request, self.deadline
            )
            why_none = alone.run(self.answer, self.channel)
            self.notes.extend([why_none] if why_none else [])

    def _trials(self, failure: Failure) -> None:
        from .trials.asked import try_on_failure

        try_on_failure(self, failure)

    def _check_numerics(self, failure: Failure) -> None:
        from .numerics import Beside

        if failure.symptom == "diverged" or time.monotonic() > self.deadline - 5:
            return
        self.channel.progress("asking enable_check_numerics")
        beside = Beside(self.stepper, failure, self.reproduction.mode, self.answer)
        self.answer["check_numerics"] = beside.found
        self.notes.extend(beside.notes)
        origin = beside.stand_in() if self.answer.get("origin") is None else None
        if origin is not None:
            self.answer["origin"], self.answer["instrument"] = origin, "check_numerics"

    # -- nothing failed
    def _not_reproduced(self) -> Dict[str, Any]:
        """Observe one step, for what can be read off it without a failure."""
        from .trials.asked import try_on_suspect

        other = self.search.other
        # a program that fits no checkpoint and fails elsewhere says nothing about this run
        step = None if other is not None and self.search.foreign else self._observed()
        if self.request["symptom"] == "none" and step is not None:
            with self._surviving("trials"):
                try_on_suspect(self)
        self.answer["started_from"] = self.search.started_from
        if self.request["symptom"] != "none":
            candidates = [] if self.search.foreign else [self._candidates()]
            reasons = [
                *self.search.remarks(),
                other or "the failure was not met",
                *self.notes,
                *candidates,
            ]
        else:
            seen = "one step was observed" if step is not None else "no step could be observed"
            reasons = [
                *self.search.remarks(), "no failure to reproduce; " + seen, *self.notes
            ]  # fmt: skip
        self.answer.update(status="not_reproduced", step=step, reason="; ".join(reasons))
        return self.answer

    def _candidates(self) -> str:
        """Say what can be the difference between the run and the replay, as far as facts tell."""
        from .candidates import candidates

        with self._surviving("looking for the difference"):
            return "candidates: " + "; ".join(candidates(self.case, self.stepper, self.search))
        return "candidates: unknown"

    def _observed(self) -> Optional[int]:
        """Observe the last step that the run trained and for which there are state and batch."""
        from .stepper import EndOfData

        starts, missing = self.search.starts(), None
        for start in [c for c in starts if c["step"] <= self.request["observe_step"]] or starts:
            step = int(start["step"])
            try:
                batch = self.stepper.batch(step)
            except EndOfData as error:
                missing = "no batch for step %d (%s)" % (step, error)
                continue
            if self.search.enter(start):
                with self._surviving("observation"):
                    self._observe_only(step, batch)
                return step
        if missing is not None:
            self.notes.append(missing)
        return None

    def _observe_only(self, step: int, batch: Any) -> None:
        from .localise import Localiser
        from .search import Failure

        before = self.state.snapshot()
        self.channel.progress("observing step %d" % step)
        trace, outcome = Localiser(self.stepper, before, batch, None).trace(before, batch)
        self._observe(Failure((step, before, batch), outcome, "none"), trace)

    @contextlib.contextmanager
    def _surviving(self, what: str) -> Iterator[None]:
        """Name a part that fails in the report; the rest of the answer stands."""
        try:
            yield
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            self.notes.append("%s failed: %s" % (what, brief(error)))
