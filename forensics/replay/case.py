"""What a training program hands over so that its failing step can be run again.

No dependency, and the syntax of Python 3.9: it is imported by the user's program, under the
interpreter the run was trained with.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional


class ReplayCase:
    """How to build the model of a run and fetch the batch of any of its steps.

    Parameters
    ----------
    model : keras.Model, optional
        Compiled model whose train step is the step; optional when `step` is given.
    step : callable, optional
        One training step of a custom loop: ``step(batch)`` applies the updates and returns the
        loss, or a mapping with the key ``loss``.
    batch : callable, optional
        ``batch(i)`` returns the batch of training step ``i`` (0-based): ``(x, y)`` or
        ``(x, y, sample_weight)`` for a model, whatever `step` takes otherwise.
    restore : mapping of str to object, optional
        What ``tf.train.Checkpoint(**restore)`` restores; default ``{"model": model, "optimizer":
        model.optimizer}``.
    dataset : tf.data.Dataset, optional
        Batched; stands in for `batch`: its n-th element is the batch of step n, and it is gone
        over again when it ends, as ``fit`` does. Shuffled anew each time it has no batch of step
        n: replay it with ``--scan``, which goes over all of it for the guilty batches.

    Raises
    ------
    ValueError
        When there is neither a model nor a step, or neither a batch function nor a dataset.
    """

    def __init__(
        self,
        model: Any = None,
        step: Optional[Callable[[Any], Any]] = None,
        batch: Optional[Callable[[int], Any]] = None,
        restore: Optional[Mapping[str, Any]] = None,
        dataset: Any = None,
    ) -> None:
        if model is None and step is None:
            raise ValueError("ReplayCase needs a compiled model, or step=function(batch) -> loss")
        if batch is None and dataset is None:
            raise ValueError("ReplayCase needs batch=function(i) -> batch, or dataset=")
        self.model = model
        self.step = step
        self.batch = batch
        self.restore = dict(restore) if restore is not None else None
        self.dataset = dataset
