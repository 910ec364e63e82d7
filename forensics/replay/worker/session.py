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
from typing import TYPE_CHECKING, Any, Dict, List

from .channel import Channel
from .entry import CaseError, brief, load_case

if TYPE_CHECKING:
    from .search import Failure


def main() -> None:
    """Read the request from stdin, answer on stdout."""
    channel = Channel()
    request = json.loads(sys.stdin.read())
    sys.stdin = io.StringIO()
    warnings.simplefilter("ignore")
    try:
        answer = Session(request, channel).run()
    except CaseError as error:
        answer = {"status": "not_run", "reason": str(error)}
    except MemoryError:
        answer = {"status": "crashed", "reason": "the replay ran out of memory"}
    except Exception as error:
        traceback.print_exc()
        answer = {"status": "crashed", "reason": "the replay failed: " + brief(error)}
    channel.answer(answer)
    # threads of the user's program must not keep the process alive
    sys.stderr.flush()
    os._exit(0)


class Session:
    """One replay.

    Parameters
    ----------
    request : dict
        ``file``, ``function``, ``checkpoints`` (newest first: path, step, format),
        ``observe_step``, ``last_step``, ``symptom``, ``loss_limit``, ``seconds``, ``device``.
    channel : Channel
        Where progress and answers go.
    """

    def __init__(self, request: Dict[str, Any], channel: Channel) -> None:
        self.request, self.channel = request, channel
        self.begun = time.monotonic()
        self.deadline = self.begun + float(request["seconds"])
        self.notes: List[str] = []
        self.answer: Dict[str, Any] = {"status": "crashed", "reason": "the replay did not finish"}

    def run(self) -> Dict[str, Any]:
        """Do all of it and return the answer."""
        self.channel.progress("importing the program and TensorFlow")
        self.case = load_case(self.request["file"], self.request["function"])
        self._prepare()
        symptom = self.request["symptom"]
        failure = self.search.run() if symptom != "none" else None
        self.answer["started_from"] = self.search.started_from
        if failure is None:
            return self._not_reproduced()
        self.answer.update(
            status="reproduced", step=failure.step, symptom=failure.symptom, reason="",
            attempts=self._attempts(failure),
        )  # fmt: skip
        self.channel.partial(self.answer)
        self._localise(failure)
        self.channel.partial(self.answer)
        with self._surviving("trials"):
            self._trials(failure)
        self.channel.partial(self.answer)
        with self._surviving("check_numerics"):
            self._check_numerics(failure)
        self.answer["reason"] = "; ".join(self.notes)
        return self.answer

    # -- preparation
    def _prepare(self) -> None:
        from .restore import build
        from .search import Search
        from .state import State
        from .stepper import EndOfData, Stepper

        self._environment()
        self.state = State(self.case.restore)
        self.stepper = Stepper(self.case, self.state)
        try:
            first = self.stepper.batch(self._first_wanted())
        except EndOfData:
            first = self.stepper.batch(0)
        try:
            build(self.case, first)
        except Exception as error:
            raise CaseError("the model cannot be built on its batch: %s" % brief(error)) from error
        self.state.refresh()
        self.search = Search(
            self.request, self.case, self.state, self.stepper, self.deadline, self.notes,
            self.channel.progress,
        )  # fmt: skip

    def _first_wanted(self) -> int:
        checkpoints = self.request["checkpoints"]
        return int(checkpoints[0]["step"]) if checkpoints else 0

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

    # -- what is done with it
    def _attempts(self, failure: Failure) -> List[Dict[str, Any]]:
        """Run the failing step again, in its own mode, and compare the states bit by bit."""
        times, same, reference = 1, True, None
        self.channel.progress("reproducing step %d" % failure.step)
        runs = 3 if failure.symptom != "diverged" else 1
        for _ in range(runs - 1):
            self.state.load(failure.before)
            bad_before = self.state.bad()
            outcome = self.stepper.judge(self.stepper.own(failure.batch), bad_before)
            times += outcome.symptom is not None
            after = self.state.snapshot()
            if reference is not None:
                same = same and _equal(reference, after)
            reference = after
        self.answer["determinism"] = (
            "bitwise" if same and runs > 2 else "none" if runs > 2 else "tolerance"
        )
        self.mode = self.stepper.mode
        outcome_text = failure.outcome.describe()
        if failure.symptom == "diverged":
            outcome_text = "loss %.4g passed %.4g" % (
                failure.outcome.loss,
                self.request["loss_limit"],
            )
        return [_attempt(self.mode, self.device, outcome_text, times, runs)]

    def _localise(self, failure: Failure) -> None:
        from .localise import Localiser

        localiser = Localiser(self.stepper, self.channel.progress)
        found = localiser.run(failure.before, failure.step, failure.batch, failure.healthy)
        trace, outcome = found.trace, found.eager_outcome
        assert trace is not None and outcome is not None
        if self.mode != "eager" and failure.symptom != "diverged":
            hit = outcome.symptom is not None
            self.answer["attempts"].append(
                _attempt("eager", self.device, outcome.describe(), int(hit), 1)
            )
            if not hit:
                self.notes.append(
                    "op by op the step stays finite: only the %s mode fails" % self.mode
                )
        self.answer.update(
            origin=found.origin, other_origins=found.others, benign=found.benign,
            chain=found.chain, samples=found.rows, unreplayable_ops=sorted(trace.random_ops),
        )  # fmt: skip
        self._observe(failure, trace)

    def _observe(self, failure: Failure, trace: Any) -> None:
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
            self.answer["origin"] = origin_from(found)
            self.notes.append("the op is named by enable_check_numerics, in graph mode")

    # -- nothing failed
    def _not_reproduced(self) -> Dict[str, Any]:
        """Observe one step, for what can be read off it without a failure."""
        wanted = self.request["symptom"] != "none"
        step = self.request["observe_step"]
        starts = self.search.starts()
        for start in [c for c in starts if c["step"] <= step] or starts:
            if self.search.enter(start):
                step = start["step"]
                break
        self.answer["started_from"] = self.search.started_from
        with self._surviving("observation"):
            self._observe_only(step)
        what = (
            "the failure was not met"
            if wanted
            else "no failure to reproduce; one step was observed"
        )
        hint = (
            "candidates: another data order, state that the checkpoint does not hold (random "
            "seeds, slots), another device or compiled fusion"
        )
        reasons = [what, *self.notes, *([hint] if wanted else [])]
        self.answer.update(status="not_reproduced", step=step, reason="; ".join(reasons))
        return self.answer

    def _observe_only(self, step: int) -> None:
        from .listening import listening
        from .localise import batch_rows
        from .search import Failure
        from .trace import Trace

        batch = self.stepper.batch(step)
        self.mode = self.stepper.mode
        before = self.state.snapshot()
        self.channel.progress("observing step %d" % step)
        trace = Trace(self.state, batch_rows(batch))
        with listening(trace):
            outcome = self.stepper.eager(batch)
        failure = Failure(step, before, batch, outcome, "none")
        self._observe(failure, trace)

    @contextlib.contextmanager
    def _surviving(self, what: str) -> Any:
        """Name a part that fails in the report; the rest of the answer stands."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.notes.append("%s failed: %s" % (what, brief(error)))


def _attempt(mode: str, device: str, outcome: str, hits: int, runs: int) -> Dict[str, Any]:
    return {
        "mode": mode, "device": device, "seed": None, "outcome": outcome,
        "times_reproduced": hits, "times_run": runs,
    }  # fmt: skip


def _equal(one: Dict[int, Any], two: Dict[int, Any]) -> bool:
    """Whether two snapshots are equal bit by bit (NaN included)."""
    return all(key in two and value.tobytes() == two[key].tobytes() for key, value in one.items())
