"""Names of optimizers as Keras classes, from the names of their variables."""

from __future__ import annotations

import re

# keras.optimizers, by the snake case that Keras derives variable names from.
_CLASSES = {
    "adadelta": "Adadelta", "adafactor": "Adafactor", "adagrad": "Adagrad", "adam": "Adam",
    "adamax": "Adamax", "adamw": "AdamW", "adam_w": "AdamW", "ftrl": "Ftrl", "lamb": "Lamb",
    "lion": "Lion", "loss_scale_optimizer": "LossScaleOptimizer", "muon": "Muon", "nadam": "Nadam",
    "rm_sprop": "RMSprop",
    "rms_prop": "RMSprop", "rmsprop": "RMSprop", "schedule_free_adam_w": "ScheduleFreeAdamW",
    "sgd": "SGD",
}  # fmt: skip


def optimizer_class(variable_name: str | None) -> str | None:
    """Class name for the name of an optimizer instance, e.g. ``RMSprop`` for ``rms_prop_1``.

    A name that is not Keras's own is returned as it is.
    """
    if not variable_name:
        return None
    return _CLASSES.get(re.sub(r"_\d+$", "", variable_name).lower(), variable_name)


def is_optimizer_name(variable_name: str) -> bool:
    """Whether this is what Keras calls an instance of one of its optimizers."""
    return re.sub(r"_\d+$", "", variable_name).lower() in _CLASSES
