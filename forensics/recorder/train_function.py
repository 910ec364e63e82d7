"""The train function of a Keras model, one batch at a time, with someone looking on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import tensorflow as tf


class WatchedTrainFunction:
    """Stands in for ``model.train_function``, which ``fit`` reads at every step.

    As many batches are pulled as the function consumes in one call (``steps_per_execution``), and
    each is run by the function itself, inside a graph with the signature of the data: the
    operations are those that it runs anyway. A naive ``f(iter([next(it)]))`` would cut four steps
    of every four to one.

    Parameters
    ----------
    model : keras.Model
        The model that is fitted.
    function : callable
        Its train function.
    before, after : callable
        Called with the batch before each step, and with what the function returned after it.
    """

    def __init__(
        self, model: Any, function: Callable[[Any], Any],
        before: Callable[[Any], None], after: Callable[[Any], None],
    ) -> None:  # fmt: skip
        self._model, self._function = model, function
        self._before, self._after = before, after
        self._spec: Any = None
        self._step: Callable[[Any], Any] = self._directly

    def __call__(self, iterator: Any) -> Any:
        """Run up to ``steps_per_execution`` steps and return what the last one did."""
        outputs = None
        for _ in range(self._model.steps_per_execution):
            try:
                batch = next(iterator)
            except StopIteration:
                break
            self._before(batch)
            outputs = self._stepper(iterator)(batch)
            self._after(outputs)
        if outputs is None:
            raise StopIteration
        return outputs

    def _stepper(self, iterator: Any) -> Callable[[Any], Any]:
        spec = getattr(iterator, "element_spec", None)
        if self._model.run_eagerly or spec is None:
            return self._directly
        if spec != self._spec:
            self._spec = spec
            self._step = self._in_graph(spec)
        return self._step

    def _directly(self, batch: Any) -> Any:
        return self._function(iter([batch]))

    def _in_graph(self, spec: Any) -> Callable[[Any], Any]:
        """Wrap it with the shapes of the data, whose last batch may be smaller than the others."""
        step: Callable[[Any], Any] = self._directly
        with suppress(TypeError):  # a part that no signature can hold
            step = tf.function(self._directly, input_signature=(spec,), autograph=False)
        return step
