"""What a replay has to know of the process that recorded: settings, versions, what is missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

FORMAT = 2


def describe(watched: Mapping[str, Any], keep: int, every: int, first_step: int) -> dict[str, Any]:
    """Return the manifest of a recording that begins."""
    model = watched.get("model")
    return {
        "format": FORMAT,
        "keep": keep,
        "every": every,
        "first_step": first_step,
        "watched": {name: type(thing).__name__ for name, thing in watched.items()},
        "model": None,
        "model_reason": None,
        "frozen": None,
        "not_recorded": [],
        "settings": {
            # the model's own decides whether compiling it adds a loss scale
            "dtype_policy": getattr(model, "dtype_policy", keras.config.dtype_policy()).name,
            "floatx": keras.config.floatx(),
            "image_data_format": keras.config.image_data_format(),
            "run_eagerly": bool(getattr(model, "run_eagerly", False)),
            "jit_compile": bool(getattr(model, "jit_compile", False)),
            "steps_per_execution": int(getattr(model, "steps_per_execution", 1) or 1),
        },
        "environment": {
            "python": sys.version.split()[0],
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": np.__version__,
            "device": "GPU" if tf.config.list_physical_devices("GPU") else "CPU",
            "threads": [
                tf.config.threading.get_inter_op_parallelism_threads(),
                tf.config.threading.get_intra_op_parallelism_threads(),
            ],
            "cpus": os.cpu_count(),
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0",
        },
    }
