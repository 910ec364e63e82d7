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
from .entry import CaseError, brief, load_case

if TYPE_CHECKING:
    from .failing_op import FailingOp
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
        ``file``, ``function``, ``checkpoints`` (newest first: path, name, step, format),
        ``last_step``, ``clean_step``, ``clean_state``, ``finite_losses``, ``observe_step``,
        ``symptom``, ``loss_limit``, ``seconds``, ``device``.
    channel : Channel
        Where progress and answers go.
    """

    def __init__(self, request: Dict[str, Any], channel: Channel) -> None:
        self.request, self.channel = request, channel
        self.deadline = time.monotonic() + float(request["seconds"])
        self.notes: List[str] = []
        self.answer: Dict[str, Any] = {"status": "crashed", "reason": "the replay did not finish"}
        self.failing: Optional[FailingOp] = None
        """The op behind the failure with its operands, once it was asked whose bug it is."""

    def run(self) -> Dict[str, Any]:
        """Do all of it and return the answer."""
        self.channel.progress("importing the program and TensorFlow")
        self.case = load_case(self.request["file"], self.request["function"])
        self._prepare()
        failure = self.search.run() if self.request["symptom"] != "none" else None
        self.answer["started_from"] = self.search.started_from
        if failure is None:
            return self._not_reproduced()
        self.answer.update(
            status="reproduced", step=failure.step, symptom=failure.symptom, reason="",
            attempts=[self._again(failure)],
        )  # fmt: skip
        for part in (
            self._localise, self._rows, self._whose_bug, self._reproducer, self._check_numerics,
            self._trials,
        ):  # fmt: skip
            self.channel.partial(self.answer)
            with self._surviving(part.__name__.strip("_")):
                part(failure)
        self.answer["reason"] = "; ".join([*self.search.remarks(), *self.notes])
        return self.answer

    def broken(self, why: str) -> Dict[str, Any]:
        """Return what is known although the rest failed."""
        if self.answer["status"] != "reproduced":
            return {**self.answer, "status": "crashed", "reason": why}
        return {**self.answer, "reason": "; ".join([*self.notes, why])}

    # -- preparation
    def _prepare(self) -> None:
        from .search import Search
        from .state import State
        from .stepper import Stepper

        self._environment()
        self.state = State(self.case.restore)
        self.stepper = Stepper(self.case, self.state)
        built = self._build()
        self.search = Search(
            self.request, self.case, self.state, self.stepper, built, self.deadline, self.notes,
            self.channel.progress,
        )  # fmt: skip

    def _build(self) -> Snapshot:
        """Build the case on a batch; one batch of the wrong shape may be the failure itself."""
        from .restore import BatchError, build
        from .stepper import EndOfData

        checkpoints = self.request["checkpoints"]
        begin = min(int(checkpoints[0]["step"]), self.request["observe_step"]) if checkpoints else 0
        refused = None
        for step in sorted({begin, 0}, reverse=True):
            try:
                return build(self.case, self.state, self.stepper, self.stepper.batch(step))
            except EndOfData as error:
                if step == 0 and refused is None:
                    raise CaseError("the case has no batch for step 0: %s" % error) from error
            except BatchError as error:
                refused = "batch %d does not pass through the model: %s" % (step, error)
        raise CaseError(str(refused))

    def _environment(self) -> None:
        import keras
        import tensorflow as tf

        wanted = self.request["device"]
        gpus = tf.config.list_physical_devices("GPU")
        if wanted == "gpu" and not gpus:
            raise CaseError("--device gpu: TensorFlow sees no GPU here")
        device = "CPU"
        if gpus and wanted != "cpu":
            details = tf.config.experimental.get_device_details(gpus[0])
            device = "GPU " + str(details.get("device_name", ""))
        self.device = device.strip()
        self.answer["device"] = self.device
        self.answer["environment"] = {
            "python": sys.version.split()[0], "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "device": self.device,
            "threads": [
                tf.config.threading.get_inter_op_parallelism_threads(),
                tf.config.threading.get_intra_op_parallelism_threads(),
            ],
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0",
        }  # fmt: skip

    # -- what is done with a failure
    def _again(self, failure: Failure) -> Dict[str, Any]:
        """Run the failing step again, in its own mode, and compare the states bit by bit."""
        self.channel.progress("reproducing step %d" % failure.step)
        self.mode = self.stepper.mode
        limit, loss = self.request["loss_limit"], failure.outcome.loss
        said = failure.outcome.describe()
        if failure.symptom == "diverged" and loss is not None:
            said = "loss %.4g passed %.4g" % (loss, limit)
        hits, afters = 1, []
        for _ in range(2):
            self.state.load(failure.before)
            bad_before = self.state.bad()
            outcome = self.stepper.own(failure.batch)
            afters.append(self.state.snapshot())
            self.stepper.judge(outcome, bad_before, afters[-1])
            hits += outcome.symptom_beyond(limit) is not None
        self.answer["determinism"] = afters[0].likeness(afters[1])
        return _attempt(self.mode, self.device, said, hits, 3)

    def _localise(self, failure: Failure) -> None:
        from .localise import Localiser

        self.channel.progress("tracing step %d op by op" % failure.step)
        localiser = Localiser(self.stepper, failure.before, failure.batch, failure.healthy)
        found = failure.found = localiser.run(failure.outcome)
        trace, outcome = found.trace, found.eager_outcome
        if self.mode != "eager" and failure.symptom != "diverged":
            hit = outcome.symptom is not None
            self.answer["attempts"].append(
                _attempt("eager", self.device, outcome.describe(), int(hit), 1)
            )
            if not hit:
                self.notes.append(
                    "op by op the step stays finite: only the %s mode fails" % self.mode
                )
            elif outcome.error is not None and failure.outcome.error is None:
                self.notes.append("op by op the step %s" % outcome.describe())
        if failure.symptom == "raised" and found.origin is None:
            self.notes.append("step %d %s" % (failure.step, failure.outcome.describe()))
        self.notes.extend(trace.troubles)
        self.answer.update(
            origin=found.origin, other_origins=found.others, benign=found.benign,
            chain=found.chain, samples=found.rows, unreplayable_ops=sorted(trace.random_ops),
        )  # fmt: skip
        self._observe(failure, trace)

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

    def _whose_bug(self, failure: Failure) -> None:
        """Ask other engines what they answer to the operands of the origin."""
        from .blame import blame, without_op
        from .failing_op import NoOperands, failing_op

        if failure.symptom == "diverged":
            return
        self.channel.progress("asking whose bug it is")
        try:
            self.failing = failing_op(failure, self.mode)
        except NoOperands as error:
            self.answer["whose_bug"] = without_op(self.answer.get("origin"), str(error))
            return
        self.answer["whose_bug"] = blame(self.failing, time.monotonic() + self._share(0.2))

    def _reproducer(self, failure: Failure) -> None:
        """Write a script that fails with the same op, and run it."""
        from .reproducer import make

        whose = self.answer.get("whose_bug")
        if failure.symptom == "diverged" or whose is None:
            return
        self.channel.progress("writing and running a reproducer")
        place = make.Place(self.request, failure.step, whose, time.monotonic() + self._share(0.4))
        try:
            made = make.reproducer(self.failing, failure, place)
        except make.NoReproducer as error:
            self.notes.append("no reproducer: %s" % error)
            return
        if made is not None:
            self.answer["reproducer_script"] = made.text
            self.notes.extend(made.notes)

    def _share(self, part: float) -> float:
        """Seconds that a part of the answer may take, of those that are left."""
        return part * max(0.0, self.deadline - time.monotonic())

    def _trials(self, failure: Failure) -> None:
        from .trials import Trials

        left = self.deadline - time.monotonic()
        if left < 2:
            self.notes.append("no time left for trials")
            return
        start, snapshot = failure.trial_start
        self.channel.progress("trying remedies from step %d" % start)
        trials = Trials(self.stepper, start, snapshot, failure.step, self.request["loss_limit"],
                        time.monotonic() + 0.7 * left, failure.losses)  # fmt: skip
        self.answer["trials"] = trials.run()
        if not self.answer["trials"]:
            self.notes.append("no remedy was tried: the baseline did not fail a second time")

    def _check_numerics(self, failure: Failure) -> None:
        from .numerics import check_numerics, origin_from

        if failure.symptom == "diverged" or time.monotonic() > self.deadline - 5:
            return
        self.channel.progress("asking enable_check_numerics")
        found = check_numerics(self.stepper, failure.before, failure.batch)
        self.answer["check_numerics"] = found
        if found is not None and self.answer.get("origin") is None:
            self.answer["origin"] = origin_from(self.case, found)
            self.notes.append("the op is named by enable_check_numerics, in graph mode")

    # -- nothing failed
    def _not_reproduced(self) -> Dict[str, Any]:
        """Observe one step, for what can be read off it without a failure."""
        other = self.search.other
        # a program that fits no checkpoint and fails elsewhere says nothing about this run
        step = None if other is not None and self.search.foreign else self._observed()
        self.answer["started_from"] = self.search.started_from
        if self.request["symptom"] != "none":
            reasons = [
                *self.search.remarks(),
                other or "the failure was not met",
                *self.notes,
            ]
            if not self.search.foreign:
                reasons.append(
                    "candidates: another data order, state that the checkpoint does not hold "
                    "(random seeds, slots), another device or compiled fusion"
                )
        else:
            seen = "one step was observed" if step is not None else "no step could be observed"
            reasons = [
                *self.search.remarks(), "no failure to reproduce; " + seen, *self.notes
            ]  # fmt: skip
        self.answer.update(status="not_reproduced", step=step, reason="; ".join(reasons))
        return self.answer

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


def _attempt(mode: str, device: str, outcome: str, hits: int, runs: int) -> Dict[str, Any]:
    return {
        "mode": mode, "device": device, "seed": None, "outcome": outcome,
        "times_reproduced": hits, "times_run": runs,
    }  # fmt: skip
