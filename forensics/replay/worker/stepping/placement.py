"""The device of a replay: chosen, named, compared with the run's, and where a step is traced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

from ..case.entry import CaseError

if TYPE_CHECKING:
    from ..localising.localise import Localised
    from .stepper import Stepper

HOST = "/CPU:0"
ON_HOST = (
    "the step was traced op by op on the CPU, where it fails too: the trace exchanges values in "
    "the memory of the host"
)
NOT_ON_HOST = (
    "op by op the step fails on the GPU only; values there cannot be exchanged while it runs, so "
    "what does harm was decided by following values alone"
)


def choose(wanted: str) -> str:
    """Name the device that a replay runs on: `CPU`, or `GPU` and the name of the card.

    Parameters
    ----------
    wanted : str
        ``auto``, ``cpu`` or ``gpu``.

    Raises
    ------
    CaseError
        When a GPU is wanted and TensorFlow sees none.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if wanted == "gpu" and not gpus:
        raise CaseError("--device gpu: TensorFlow sees no GPU here")
    if not gpus or wanted == "cpu":
        return "CPU"
    try:
        name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "")
    except Exception:
        name = ""
    return ("GPU " + str(name)).strip()


def elsewhere(then: Any, here: str) -> Optional[str]:
    """Say that the run was on a GPU and the replay is not, or the other way round.

    Parameters
    ----------
    then : object
        Device of the run as it was recorded; anything but a text: not known.
    here : str
        Device of the replay.
    """
    if not isinstance(then, str) or not then or _kind(then) == _kind(here):
        return None
    return (
        "the run was on %s, the replay is on %s: labels out of range, TF32, fused kernels and the "
        "order of sums differ" % (_article(then), _article(here))
    )


def _kind(device: str) -> str:
    return "GPU" if "GPU" in device.upper() else "CPU"


def _article(device: str) -> str:
    return "a GPU" if _kind(device) == "GPU" else "a CPU"


def traced(
    stepper: Stepper, device: str, fails: bool, trace: Callable[[], Localised], said: List[str]
) -> Localised:
    """Trace a step on the CPU, and on the GPU where the CPU does not show its failure.

    Parameters
    ----------
    stepper : Stepper
        Runs the step; its `eager_device` is set to where the step was traced in the end.
    device : str
        As `choose` named it.
    fails : bool
        Whether the step failed in its own mode by a symptom that op by op can show.
    trace : callable
        Traces the step.
    said : list of str
        Takes the sentence on what was done.
    """
    if _kind(device) == "CPU":
        return trace()
    stepper.eager_device = HOST
    found = trace()
    if not fails or found.eager_outcome.symptom is not None:
        said.append(ON_HOST)
        return found
    stepper.eager_device = None
    on_card = trace()
    if on_card.eager_outcome.symptom is not None:
        said.append(NOT_ON_HOST)
        return on_card
    return found


def environment(device: str, keras: str) -> Dict[str, Any]:
    """Return the fields of the report that tell where a replay ran."""
    import os
    import sys

    import tensorflow as tf

    found = {
        "python": sys.version.split()[0], "tensorflow": tf.__version__, "keras": keras,
        "device": device,
        "threads": [
            tf.config.threading.get_inter_op_parallelism_threads(),
            tf.config.threading.get_intra_op_parallelism_threads(),
        ],
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0",
    }  # fmt: skip
    if _kind(device) == "GPU":
        found["tf32"] = bool(tf.config.experimental.tensor_float_32_execution_enabled())
        found["cuda"] = str(tf.sysconfig.get_build_info().get("cuda_version", ""))
    return found
