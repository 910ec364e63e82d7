"""A compiled Keras model from a file, as far as built-in layers go."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import Any, Iterator

from ..keras_family import keras_api
from .entry import Case, CaseError, brief

_MOST_CONFIG = 16 << 20


def saved_case(path: str, batch: Any) -> Case:
    """Make a case of a saved model and the one batch that it is run on, at every step.

    Raises
    ------
    CaseError
        When the model cannot be built without its program, or cannot be trained.
    """
    return Case({"model": load_saved(path), "batch": lambda step: batch})


def load_saved(path: str, instead: str = "name its program instead: FILE:function") -> Any:
    """Load a model with its optimizer; only built-in layers are built.

    Raises
    ------
    CaseError
        When it needs code that is not in the file, or was saved without its optimizer.
    """
    name = Path(path).name
    foreign = sorted(set(_foreign(path)))
    if foreign:
        raise CaseError(
            "%s needs code of its program (%s): %s" % (name, ", ".join(foreign[:3]), instead)
        )
    try:
        with warnings.catch_warnings():
            # a model that was saved before its first step has no slots yet
            warnings.simplefilter("ignore")
            model = keras_api.packages()[0].models.load_model(path, compile=True, safe_mode=True)
    except Exception as error:
        raise CaseError("%s cannot be loaded (%s): %s" % (name, brief(error), instead)) from error
    if getattr(model, "optimizer", None) is None:
        raise CaseError("%s was saved without its optimizer: %s" % (name, instead))
    return model


def _foreign(path: str) -> Iterator[str]:
    """Classes in a ``.keras`` archive that Keras does not have itself."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive, archive.open("config.json") as member:
            config = json.loads(member.read(_MOST_CONFIG))
    except Exception as error:
        raise CaseError("%s cannot be read: %s" % (Path(path).name, brief(error))) from error
    waiting = [config]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if {"class_name", "config", "module"} <= part.keys() and not _is_built_in(part):
                function = part["class_name"] == "function"
                yield str(part["config"] if function else part["class_name"])
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _is_built_in(part: Any) -> bool:
    """Whether Keras finds a class or function in its own modules; a user's has none, or another."""
    module = str(part.get("module")).split(".")[0]
    return module == "keras" or (module == "builtins" and part["class_name"] != "function")
