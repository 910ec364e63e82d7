"""The recorder itself: a Keras callback, and a plain object for loops of one's own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forensics.recorder.batches import Unrecordable, encode_batch
from forensics.recorder.files import write_json, write_npz
from forensics.recorder.manifest import describe
from forensics.recorder.readings import Readings, norms_of
from forensics.recorder.ring import MANIFEST, MODEL, Ring
from forensics.recorder.scalars import EventFile
from forensics.recorder.states import encode_state
from forensics.recorder.train_function import WatchedTrainFunction

FOLDER = "flight"
PREFIX = "train/"


class FlightRecorder(keras.callbacks.Callback):
    """Record the last batches, a state before them, and the scalars of every step.

    Parameters
    ----------
    logdir : str or Path
        Log directory of the run; the recorder writes below ``flight/`` in it.
    keep : int
        Steps that can always be run again exactly: there is a state from at least so many steps
        ago, and every batch since.
    every : int
        Steps between two states. A state is a copy of all variables; a smaller number means more
        copies and fewer batches on the disk (at most ``every + 2 * keep``).
    first_step : int, optional
        Index of the first batch, 0-based; default: the iterations that the optimizer has made.

    Notes
    -----
    Batches are written before the step that consumes them, and every file is renamed when it is
    complete: a killed process and ``TerminateOnNaN(raise_error=True)`` leave a whole recording.
    Training is the same, bit by bit, with and without it.

    Examples
    --------
    ``model.fit``::

        model.fit(..., callbacks=[forensics.FlightRecorder(logdir)])

    A loop of one's own; ``watch`` comes before the step is traced::

        with forensics.FlightRecorder(logdir).watch(model=model, optimizer=optimizer) as recorder:
            for batch in data:
                recorder.record(batch)
                recorder.after(loss=step(batch))
    """

    def __init__(
        self, logdir: str | Path, keep: int = 8, every: int = 50, first_step: int | None = None
    ) -> None:
        super().__init__()
        if keep < 1 or every < 1:
            raise ValueError("keep and every must be at least 1")
        self.folder = Path(logdir) / FOLDER
        self.keep, self.every = keep, every
        self.step = first_step
        """Index of the next batch; None before the first one, unless it was given."""
        self._ring = Ring(self.folder, keep, every)
        self._events = EventFile(self.folder)
        self._watched: dict[str, Any] = {}
        self._readings: dict[str, Readings] = {}
        self._manifest: dict[str, Any] | None = None
        self._original: Any = None
        self._spread = self._lost = False

    # -- model.fit
    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Take the place of the train function, which is traced anew with the hooks in it."""
        self._release()
        model = self.model
        self._spread = model.distribute_strategy.num_replicas_in_sync > 1
        if self._spread:
            why = "batches, states and gradient norms: training is spread over several replicas"
            warnings.warn(f"FlightRecorder does not record {why}", stacklevel=2)
            self._watched = {"model": model, "optimizer": model.optimizer}
            self._start()
            self._miss(why)
        else:
            self.watch(model=model, optimizer=model.optimizer)
            self._start()
        self._original = model.train_function
        if self._spread:
            model.train_function = self._counting
            return
        model.make_train_function(force=True)
        model.train_function = WatchedTrainFunction(
            model, model.train_function, self.record, self._after_step
        )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leave the model as it was."""
        self.close()

    def _after_step(self, outputs: Any) -> None:
        """Log the step; a `train_step` that bypasses the hooks shows only what it returned."""
        scalars = self._measured()
        if "loss" not in scalars and isinstance(outputs, dict) and "loss" in outputs:
            scalars["loss"] = float(np.asarray(outputs["loss"]))
            self._miss("the loss of each step: the mean since the start of the epoch is logged")
        self._finish(scalars)

    def _counting(self, iterator: Any) -> Any:
        outputs = self._original(iterator)
        assert self.step is not None
        self.step += int(self.model.steps_per_execution)
        if isinstance(outputs, dict) and "loss" in outputs:
            loss = float(np.asarray(outputs["loss"]))
            self._events.add(self.step - 1, {PREFIX + "loss": loss})
        return outputs

    # -- loops of one's own
    def watch(self, model: Any = None, optimizer: Any = None, **others: Any) -> FlightRecorder:
        """Name what a step reads and changes; call it before the step is traced.

        Parameters
        ----------
        model, optimizer, others : keras.Model, keras.optimizers.Optimizer, tf.Variable
            Everything whose state is recorded, under the names that ``ReplayCase(restore=)`` uses.
        """
        named = {"model": model, "optimizer": optimizer, **others}
        self._watched = {name: thing for name, thing in named.items() if thing is not None}
        compiled = bool(getattr(model, "jit_compile", False))
        for name, thing in self._watched.items():
            if hasattr(thing, "apply_gradients"):
                self._readings[name] = Readings(thing, compiled)
                self._readings[name].attach()
        return self

    def record(self, batch: Any) -> None:
        """Record the batch of the next step, and now and then the state before it."""
        if self._manifest is None:
            self._start()
        assert self.step is not None
        self._attempt(self._record, self.step, batch)
        self.step += 1

    def after(self, loss: Any = None, gradients: Any = None, variables: Any = None) -> None:
        """Log the step whose batch was recorded last.

        Parameters
        ----------
        loss : number or tensor, optional
            Its loss.
        gradients : list of tensors, optional
            Where no watched optimizer applies them; else their norms are known already.
        variables : list of variables, optional
            In the order of `gradients`, for norms per layer.
        """
        scalars = self._measured()
        if loss is not None:
            scalars["loss"] = float(np.mean(np.asarray(loss)))
        if gradients is not None:
            scalars.update(_norms(gradients, variables))
        self._finish(scalars)

    def close(self) -> None:
        """Take the hooks away and close the event file; the recording stays."""
        self._release()
        self._events.close()

    def __enter__(self) -> FlightRecorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what both share
    def _start(self) -> None:
        if self.step is None:
            self.step = max([0, *(_iterations(thing) for thing in self._watched.values())])
        if self._manifest is not None:
            return
        self._ring.open()
        self._manifest = describe(self._watched, self.keep, self.every, self.step)
        self._save_model()
        self._write_manifest()

    def _save_model(self) -> None:
        """Save what the model is, for a replay without its program."""
        assert self._manifest is not None
        (self.folder / MODEL).unlink(missing_ok=True)
        model = self._watched.get("model")
        why = None
        if not isinstance(model, keras.Model):
            why = "no Keras model is watched"
        elif not getattr(model, "compiled", False):
            why = "the model is not compiled: its training step is the program's own"
        else:
            part = self.folder / ("part-" + MODEL)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model.save(part)
                part.replace(self.folder / MODEL)
            except Exception as error:
                part.unlink(missing_ok=True)
                why = f"the model cannot be saved: {type(error).__name__}: {error}"[:500]
        self._manifest["model"], self._manifest["model_reason"] = (
            (None, why) if why else (MODEL, None)
        )

    def _record(self, step: int, batch: Any) -> None:
        if self._ring.wants_state(step):
            self._record_state(step)
        if self._ring.wants_batch(step):
            try:
                write_npz(self._ring.batch_path(step), encode_batch(batch))
                self._ring.added_batch(step)
            except Unrecordable as error:
                self._miss(f"the batches: {error}")

    def _attempt(self, act: Callable[..., None], *arguments: Any) -> None:
        """Let training go on without a recorder when the disk is full or gone."""
        if self._lost:
            return
        try:
            act(*arguments)
        except (OSError, tf.errors.OpError) as error:
            self._lost = True
            warnings.warn(f"FlightRecorder records no more: {error}", stacklevel=4)

    def _record_state(self, step: int) -> None:
        arrays, bad = encode_state(self._watched, step)
        if bad is None:
            write_npz(self._ring.state_path(step), arrays)
            self._ring.added_state(step)
        else:
            self._freeze(step, f"{bad} is not finite before step {step}")

    def _measured(self) -> dict[str, float]:
        """Return what the hooks saw; of several optimizers, tags begin with the name."""
        scalars: dict[str, float] = {}
        for name, readings in self._readings.items():
            prefix = "" if len(self._readings) == 1 else f"{name}/"
            scalars.update({prefix + t: value for t, value in readings.scalars().items()})
        return scalars

    def _finish(self, scalars: dict[str, float]) -> None:
        assert self.step is not None
        step = self.step - 1
        self._attempt(self._log, step, scalars)

    def _log(self, step: int, scalars: dict[str, float]) -> None:
        self._events.add(step, {PREFIX + tag: value for tag, value in scalars.items()})
        bad = next((t for t, v in scalars.items() if _is_loss(t) and not math.isfinite(v)), None)
        if bad is not None:
            self._freeze(step, f"{bad} of step {step} is {scalars[bad]}")

    def _freeze(self, step: int, why: str) -> None:
        if self._ring.freeze(step):
            assert self._manifest is not None
            self._manifest["frozen"] = {"step": step, "why": why}
            self._write_manifest()

    def _miss(self, what: str) -> None:
        assert self._manifest is not None
        if what not in self._manifest["not_recorded"]:
            self._manifest["not_recorded"].append(what)
            self._write_manifest()

    def _write_manifest(self) -> None:
        write_json(self.folder / MANIFEST, self._manifest)

    def _release(self) -> None:
        for readings in self._readings.values():
            readings.detach()
        self._readings.clear()
        if self._original is not None and self.model is not None:
            self.model.train_function = self._original
        self._original = None


def _is_loss(tag: str) -> bool:
    return tag == "loss" or tag.endswith("/loss")


def _norms(gradients: Sequence[Any], variables: Sequence[Any] | None) -> dict[str, float]:
    present = [i for i, g in enumerate(gradients) if g is not None]
    if not present:
        return {}
    norms = np.asarray(norms_of([gradients[i] for i in present]), np.float64)
    found = {"gradient_norm": float(np.linalg.norm(norms))}
    for norm, place in zip(norms.tolist(), present, strict=True):
        if variables is not None:
            variable = variables[place]
            path = getattr(variable, "path", None) or variable.name
            found[f"gradient_norm/{path}"] = norm
    return found


def _iterations(thing: Any) -> int:
    if not hasattr(thing, "apply_gradients"):
        return 0
    try:
        return int(np.asarray(thing.iterations))
    except Exception:
        return 0
