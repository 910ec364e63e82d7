"""One training step of the case: in its own mode, or op by op."""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections import OrderedDict
from typing import Any, Callable, Dict, Iterator, List, Optional

import numpy as np

from .. import arrays
from ..case.entry import Case, brief
from ..keras_family import keras_api
from .state import Snapshot, State

_INNER = (
    "_stateful_fn", "_stateless_fn", "_variable_creation_fn", "_no_variable_creation_fn",
)  # fmt: skip
"""Where a `tf.function` kept its traces before TensorFlow 2.13."""
CACHED_BATCHES, CACHED_BYTES = 64, 1 << 30


class EndOfData(Exception):
    """The case has no batch for this step."""


class Outcome:
    """What a step did: its loss, what raised, and which state became bad."""

    __slots__ = ("bad_state", "error", "loss", "loss_bits", "returned")

    def __init__(
        self, loss: Optional[float], loss_bits: int, error: Optional[BaseException]
    ) -> None:
        self.loss, self.loss_bits, self.error = loss, loss_bits, error
        self.bad_state: List[str] = []
        self.returned: Any = None
        """The loss as the step returned it: a trace knows tensors, not their values."""

    @property
    def symptom(self) -> Optional[str]:
        """Why the step counts as failed; None for a healthy one."""
        if self.error is not None:
            return "raised"
        if self.loss_bits:
            return "loss"
        return "state" if self.bad_state else None

    def symptom_beyond(self, limit: Optional[float]) -> Optional[str]:
        """Like `symptom`, and ``diverged`` for a finite loss above `limit`."""
        if self.symptom is None and limit is not None and self.loss is not None:
            return "diverged" if self.loss > limit else None
        return self.symptom

    def describe(self) -> str:
        """Say it in a short phrase, for the attempts table."""
        if self.error is not None:
            return "raised " + brief(self.error)
        parts = []
        if self.loss_bits:
            parts.append("loss is %s" % ("NaN" if self.loss_bits & arrays.NAN else "Inf"))
        if self.bad_state:
            more = len(self.bad_state) - 1
            parts.append(
                "%s%s non-finite" % (self.bad_state[0], " and %d more" % more if more else "")
            )
        return ", ".join(parts) or "finite"


class Stepper:
    """Fetches batches and runs steps; keeps the state's bad names apart from those bad already."""

    def __init__(self, case: Case, state: State) -> None:
        self.case, self.state = case, state
        self.eager_device: Optional[str] = None
        """Where steps are run op by op; None: where TensorFlow puts them."""
        self._cache: OrderedDict[int, Any] = OrderedDict()
        self._sizes: Dict[int, int] = {}
        self._elements: Optional[Iterator[Any]] = None
        self._next = 0
        self._length: Optional[int] = None
        self._pinned: Dict[int, Any] = {}

    # -- batches
    def batch(self, step: int) -> Any:
        """Fetch the batch of training step `step` (0-based).

        Raises
        ------
        EndOfData
            When the case has none.
        """
        if step in self._pinned:
            return self._pinned[step]
        if step not in self._cache:
            found = self._fetch(step)
            self._cache[step] = self._prepared(found)
            self._sizes[step] = sum(a.nbytes for _, a in arrays.leaves(found))
            while len(self._cache) > 2 and self._too_much():
                del self._sizes[self._cache.popitem(last=False)[0]]
        return self._cache[step]

    def pin(self, batches: Dict[int, Any]) -> None:
        """Let batches stand for those of steps: of shuffled data no step has a batch of its own."""
        self._pinned.update(batches)

    def once(self, most: int) -> Iterator[Any]:
        """Go over the data once in the order in which it comes, and keep nothing.

        Parameters
        ----------
        most : int
            Batches at which to stop where the data has no end: a function of the step, or a
            dataset that repeats for ever.

        Raises
        ------
        EndOfData
            When a batch cannot be fetched.
        """
        endless = self.case.batch is not None or _is_endless(self.case.dataset)
        source, count = self._source(), 0
        while not (endless and count == most):
            try:
                found = next(source, None)
            except (Exception, SystemExit) as error:
                raise EndOfData("fetching a batch raised " + brief(error)) from error
            if found is None:
                return
            count += 1
            yield self._prepared(found)

    def _source(self) -> Iterator[Any]:
        if self.case.batch is not None:
            return map(self.case.batch, itertools.count())
        if self.case.dataset is not None:
            return iter(self.case.dataset)
        recording = self.case.recording
        return map(recording.batch, sorted(recording.paths)) if recording else iter(())

    def reshuffled(self) -> bool:
        """Whether the dataset comes in another order when it is gone over again."""
        if self.case.batch is not None or self.case.dataset is None:
            return False
        try:
            one, two = (
                [
                    a.tobytes()
                    for b in itertools.islice(self.case.dataset, 2)
                    for _, a in arrays.leaves(b)
                ]
                for _ in range(2)
            )
        except (Exception, SystemExit):
            return False  # it is told where the batch of a step is fetched
        return one != two

    def largest_batch(self) -> int:
        """Bytes of the largest batch that was fetched by its step."""
        return max(self._sizes.values(), default=0)

    def _prepared(self, found: Any) -> Any:
        return found if self.case.step is not None else packed(found)

    def _too_much(self) -> bool:
        return len(self._cache) > CACHED_BATCHES or sum(self._sizes.values()) > CACHED_BYTES

    def _fetch(self, step: int) -> Any:
        try:
            found = self._asked(step)
        except EndOfData:
            raise
        except (Exception, SystemExit) as error:
            raise EndOfData("fetching it raised " + brief(error)) from error
        if found is None:
            raise EndOfData("batch(%d) is None" % step)
        parts = [a for _, a in arrays.leaves(found) if a.ndim]
        if parts and not any(a.shape[0] for a in parts):
            # a slice past the end of an array
            raise EndOfData("batch(%d) has no rows" % step)
        return found

    def _asked(self, step: int) -> Any:
        recording = self.case.recording
        if recording is not None and step in recording.paths:
            return recording.batch(step)
        return self._element(step) if self.case.batch is None else self.case.batch(step)

    def _element(self, step: int) -> Any:
        """Element of the dataset, gone over again when it ends, as `fit` does."""
        wanted = step if self._length is None else step % self._length
        if self._elements is None or wanted < self._next:
            self._elements, self._next = iter(self.case.dataset), 0
        for element in self._elements:
            self._next += 1
            if self._next == wanted + 1:
                return element
        if self._length is not None or self._next == 0:
            raise EndOfData("the dataset has no element %d" % wanted)
        self._length, self._elements = self._next, None
        return self._element(step)

    # -- steps
    def own(self, batch: Any) -> Outcome:
        """Run a step as the run did: compiled function, graph or jit."""
        if self.case.step is not None:
            return self._guarded(lambda: self.case.step(batch))
        return self._guarded(lambda: self._compiled_step(batch))

    def _compiled_step(self, batch: Any) -> Any:
        """Call the train function as `fit` does.

        `train_on_batch` would hand (x, y, None) to a `train_step` that unpacks two values.
        """
        return keras_api.call_train_function(self.case.model, to_tensors(batch))

    def eager(self, data: Any) -> Outcome:
        """Run a step op by op; a trace wants tensors, because numpy ops vanish from it."""
        import tensorflow as tf

        with eagerly(tf), tf.device(self.eager_device):
            if self.case.step is not None:
                return self._guarded(lambda: self.case.step(data))
            return self._guarded(lambda: self._model_step(data))

    def _model_step(self, data: Any) -> Any:
        model = self.case.model
        model.reset_metrics()
        return model.train_step(data)

    def _guarded(self, call: Callable[[], Any]) -> Outcome:
        try:
            value = call()
        except (Exception, SystemExit) as error:
            return Outcome(None, 0, error)
        loss = loss_of(value)
        if loss is None:
            return Outcome(None, 0, None)
        bits = arrays.badness(loss)
        wide = arrays.widen(loss).astype(np.float64)
        outcome = Outcome(float(wide.mean()) if wide.size else None, bits, None)
        outcome.returned = part_of_loss(value)
        return outcome

    def judge(
        self, outcome: Outcome, already_bad: Any = (), after: Optional[Snapshot] = None
    ) -> Outcome:
        """Add the variables that are bad now (or in `after`) in a way in which they were not."""
        before = dict(already_bad)
        outcome.bad_state = [
            n for n, bits in self.state.bad(after).items() if bits & ~before.get(n, 0)
        ]
        return outcome

    def retrace(self) -> None:
        """Forget every compiled trace, so that a changed setting takes effect in graph mode too.

        Functions with an input signature and bound methods have one cache like all others; only a
        concrete function that the program keeps itself stays as it is.
        """
        for function in tf_functions():
            for holder in (function, *(getattr(function, name, None) for name in _INNER)):
                with contextlib.suppress(Exception):
                    holder._function_cache.clear()
        if self.case.model is not None and self.case.step is None:
            with contextlib.suppress(Exception):
                self.case.model.make_train_function(force=True)


def _is_endless(dataset: Any) -> bool:
    """Whether a dataset says of itself that it repeats for ever."""
    try:
        return int(dataset.cardinality()) == -1  # tf.data.INFINITE_CARDINALITY
    except Exception:
        return False


@contextlib.contextmanager
def eagerly(tf: Any) -> Iterator[None]:
    """Execute tf.functions op by op within the block."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def tf_functions(user_only: bool = False) -> List[Any]:
    """Every living tf.function; `user_only` leaves out those that libraries define."""
    import tensorflow as tf

    from ..tracing.frames import is_user_file

    # its class lies elsewhere in each version
    kind = type(tf.function(lambda: None))
    found = [o for o in gc.get_objects() if type(o) is kind]
    if not user_only:
        return found
    return [f for f in found if is_user_file(file_of(f))]


def file_of(function: Any) -> str:
    """File that the Python function of a `tf.function` is written in."""
    code = getattr(getattr(function, "python_function", None), "__code__", None)
    return code.co_filename if code is not None else "<unknown>"


def packed(batch: Any) -> Any:
    """Shape a batch for a compiled model as `fit` does with arrays.

    x, (x, y) or (x, y, sample_weight), and double precision, NumPy's default, as Keras's own.
    """
    floatx = keras_api.floatx()

    def convert(part: Any) -> Any:
        if isinstance(part, np.ndarray) and part.dtype == np.float64:
            return part.astype(floatx)
        return part

    if isinstance(batch, (tuple, list)):
        batch = tuple(batch)
        while len(batch) > 1 and batch[-1] is None:
            batch = batch[:-1]
    return arrays.mapped(batch, convert)


def to_tensors(value: Any) -> Any:
    """Nested batch with numpy leaves as tensors; what cannot be converted stays."""
    import tensorflow as tf

    def convert(part: Any) -> Any:
        if isinstance(part, (np.ndarray, np.generic)) and part.dtype != object:
            return tf.convert_to_tensor(part)
        return part

    return arrays.mapped(value, convert)


def part_of_loss(value: Any) -> Any:
    """Find the loss in what a step returned: itself, of a mapping or the first of a tuple."""
    if isinstance(value, dict):
        return value.get("loss", next(iter(value.values()), None))
    if isinstance(value, (tuple, list)):
        return value[0] if value else None
    return value


def loss_of(value: Any) -> Any:
    """Array of the loss in what a step returned."""
    value = part_of_loss(value)
    if value is None:
        return None
    try:
        array = np.asarray(value)
    except Exception:
        return None
    return array if array.dtype != object else None
