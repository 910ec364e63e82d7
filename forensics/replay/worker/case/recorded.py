"""What a FlightRecorder left: the batches of the last steps, exact states, the model itself."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from ..keras_family import keras_api
from ..stepping.stepper import EndOfData
from .batch_file import read_batch
from .entry import Case, CaseError, brief
from .npz_file import BadArchive, read_npz, typed
from .saved import load_saved

INDEX, GLOBAL_SEED = "index", "global seed"
ENTRY = "name its program, --replay train.py:replay_case"
_MOST_JSON = 1 << 20
_MOST_THREADS = 4096


class Recording:
    """Batches by step, and what the manifest says.

    Parameters
    ----------
    folder : str
        Where the recorder wrote.
    batches : list of (int, str)
        Step and path of every batch, on the axis of the replay.
    losses : list of (int, float)
        What was logged, by step.
    """

    def __init__(
        self, folder: str, batches: Sequence[Sequence[Any]], losses: Sequence[Sequence[Any]] = ()
    ) -> None:
        self.folder = folder
        self.losses: Dict[int, float] = {int(step): float(loss) for step, loss in losses}
        self.paths: Dict[int, str] = {int(step): str(path) for step, path in batches}
        self.manifest = _manifest(folder)

    def batch(self, step: int) -> Any:
        """Read the batch of a step.

        Raises
        ------
        EndOfData
            When it was not recorded, or no longer is.
        """
        path = self.paths.get(step)
        if path is None:
            raise EndOfData("the recording holds %s" % self._range())
        try:
            return read_batch(path)
        except BadArchive as error:
            raise EndOfData("%s: %s" % (Path(path).name, error)) from error

    def case(self) -> Case:
        """Build the model that was recorded, without its program.

        Raises
        ------
        CaseError
            When its program is needed for that.
        """
        name = self.manifest.get("model")
        if not isinstance(name, str) or Path(name).name != name:
            why = self.manifest.get("model_reason") or "its model was not saved"
            raise CaseError("the recording needs an entry point (%s): %s" % (why, ENTRY))
        self._apply_settings()
        model = load_saved(str(Path(self.folder) / name), ENTRY)
        case = Case({"model": model, "batch": self.batch})
        case.first_step = min(self.paths, default=0)
        return case

    def differences(self) -> List[str]:
        """Name what is different here from where the run was recorded, as far as bits go."""
        import tensorflow as tf

        then = self.manifest.get("environment", {})
        threading = tf.config.threading
        now = {
            "tensorflow": tf.__version__, "keras": keras_api.describe(),
            "threads": [
                threading.get_inter_op_parallelism_threads(),
                threading.get_intra_op_parallelism_threads(),
            ],
            "cpus": os.cpu_count(),
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0",
        }  # fmt: skip
        return [
            "recorded with %s %s, replayed with %s" % (key, then[key], value)
            for key, value in now.items()
            if key in then and then[key] != value
        ]

    def fidelity(self, replayed: Dict[int, float]) -> List[str]:
        """Say whether steps that were run from a recorded state gave the losses of the run.

        Parameters
        ----------
        replayed : dict of int to float
            Loss by step.
        """
        both = [step for step in sorted(replayed) if step in self.losses]
        if not both:
            return []
        for step in both:
            then, now = np.float32(self.losses[step]), np.float32(replayed[step])
            if then.tobytes() != now.tobytes():
                return [
                    "the replay is not exact: step %d gives the loss %r, the run logged %r"
                    % (step, float(now), float(then))
                ]
        return [
            "the replay of the recording is exact: steps %d to %d give the losses that the run "
            "logged, bit for bit" % (both[0], both[-1])
        ]

    def _range(self) -> str:
        if not self.paths:
            return "no batch"
        return "batches %d to %d" % (min(self.paths), max(self.paths))

    def _apply_settings(self) -> None:
        """Set what a model takes from its process: a loss scale needs the policy before loading."""
        settings = self.manifest.get("settings", {})
        try:
            keras_api.set_defaults({k: v for k, v in settings.items() if isinstance(v, str)})
        except Exception as error:
            why = "the recording's settings do not fit the Keras of this environment: %s"
            raise CaseError(why % brief(error)) from error
        self._apply_threads()

    def _apply_threads(self) -> None:
        """Ask for as many threads as the run did: sums differ with their number."""
        import tensorflow as tf

        then = self.manifest.get("environment", {}).get("threads")
        if isinstance(then, list) and len(then) == 2 and all(map(_is_thread_count, then)):
            # only possible as long as nothing has started the runtime
            with contextlib.suppress(RuntimeError):
                tf.config.threading.set_inter_op_parallelism_threads(then[0])
                tf.config.threading.set_intra_op_parallelism_threads(then[1])


def load_state(case: Case, path: str) -> List[str]:
    """Put a recorded state into the objects of the case; return notes for the report.

    Raises
    ------
    BadArchive
        When it cannot be read, or holds other variables than the case.
    """
    arrays = read_npz(path)
    variables = _index(arrays)
    notes: List[str] = []
    for owner in dict.fromkeys(v["owner"] for v in variables):
        own = [(i, v) for i, v in enumerate(variables) if v["owner"] == owner]
        if owner == GLOBAL_SEED:
            _load_global_seed(typed(arrays[str(own[0][0])], own[0][1]["dtype"]), notes)
        elif owner not in case.restore:
            notes.append("%r was recorded, and the case restores no such thing" % owner)
        else:
            _load_owner(case.restore[owner], own, arrays)
    return notes


def _index(arrays: Dict[str, Any]) -> List[Dict[str, Any]]:
    try:
        index = json.loads(bytes(arrays[INDEX].astype(np.uint8)))
        return [
            {**{k: str(v[k]) for k in ("owner", "role", "path", "dtype")}, "place": int(v["place"])}
            for v in index["variables"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadArchive("it has no index of its variables: %r" % error) from error


def _load_owner(thing: Any, own: List[Tuple[int, Dict[str, Any]]], arrays: Dict[str, Any]) -> None:
    lists = _lists_of(thing)
    counts = {role: sum(v["role"] == role for _, v in own) for role in lists}
    ready = []
    for place, described in own:
        value = typed(arrays[str(place)], described["dtype"])
        listed = lists.get(described["role"], [])
        if counts.get(described["role"]) == len(listed):
            variable = listed[described["place"]]
        else:
            variable = _by_name(listed, described["path"])
        if variable is None or tuple(variable.shape) != value.shape:
            if described["role"] == "metric":
                continue
            raise BadArchive(
                "%s of shape %s has no counterpart in the case" % (described["path"], value.shape)
            )
        ready.append((variable, value))
    for variable, value in ready:
        variable.assign(value)


def _lists_of(thing: Any) -> Dict[str, List[Any]]:
    import tensorflow as tf

    thing = thing.state if isinstance(thing, tf.random.Generator) else thing
    if hasattr(thing, "numpy"):
        return {"weight": [thing]}
    if hasattr(thing, "apply_gradients"):
        return {"slot": keras_api.optimizer_variables(thing)}
    found = getattr(thing, "variables", [])
    return {
        "weight": list(found() if callable(found) else found),
        "metric": list(getattr(thing, "metrics_variables", [])),
    }


def _by_name(listed: List[Any], path: str) -> Optional[Any]:
    """Find a variable of an object that had fewer when it was recorded: slots come with a step.

    Among those of the same last name the one whose owner is called the same.
    """
    last = path.rpartition("/")[2]
    named = [(str(getattr(v, "path", None) or v.name), v) for v in listed]
    alike = [(name, v) for name, v in named if name.rpartition("/")[2] == last]
    found = [v for name, v in alike if name == path] or [v for _, v in alike]
    return found[0] if len(found) == 1 else None


def _load_global_seed(value: Any, notes: List[str]) -> None:
    try:
        from keras.src.random.seed_generator import global_seed_generator

        global_seed_generator().state.assign(value)
    except Exception as error:
        notes.append("the global seed could not be restored (%s)" % brief(error))


def _manifest(folder: str) -> Dict[str, Any]:
    try:
        with (Path(folder) / "manifest.json").open(encoding="utf-8") as file:
            found = json.loads(file.read(_MOST_JSON))
    except (OSError, ValueError, RecursionError):
        # batches and states are of use without it, to an entry point
        return {}
    if not isinstance(found, dict):
        return {}
    for key in ("settings", "environment"):
        if not isinstance(found.get(key, {}), dict):
            raise CaseError(
                "the recording's manifest.json is not as a recorder writes it: %r is no object"
                % key
            )
    return found


def _is_thread_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST_THREADS
