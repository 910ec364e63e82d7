"""What the Python stack says about an op: phase, user's line, layer, forward twin."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any, Dict, Optional, Tuple

from . import keras_api, layer_calls, probes

_HERE = Path(__file__).resolve().parent
_FORENSICS = _HERE.parents[1]
_LIBRARY = tuple(
    os.path.normcase(p) + os.sep
    for p in {sysconfig.get_paths().get(k) for k in ("stdlib", "platstdlib")}
    if p
)

OPTIMIZER, METRIC, BACKWARD, LOSS, FORWARD = "optimizer", "metric", "backward", "loss", "forward"
RANK = {OPTIMIZER: 4, METRIC: 3, BACKWARD: 2, LOSS: 1, FORWARD: 0}

_phase_of_code: Dict[Any, str] = {}
_user_of_file: Dict[str, bool] = {}


def is_user_file(file: str) -> bool:
    """Whether a file is the user's: no installed package, no standard library, not this program."""
    known = _user_of_file.get(file)
    if known is None:
        path = os.path.normcase(str(Path(file).absolute()))
        known = not (
            file.startswith("<")
            or "site-packages" in path
            or "dist-packages" in path
            or path.startswith(_LIBRARY)
            or path.startswith(os.path.normcase(str(_HERE)))
            or Path(path).name.startswith("__autograph_generated_file")
            or (path.startswith(os.path.normcase(str(_FORENSICS)) + os.sep) and "demo" not in path)
        )
        _user_of_file[file] = known
    return known


def phase_of(code: Any) -> str:
    """Phase that a frame with this code stands for; FORWARD when it says nothing."""
    known = _phase_of_code.get(code)
    if known is None:
        file, name = code.co_filename.replace("\\", "/"), code.co_name
        known = FORWARD
        if "/keras/" in file or "/tf_keras/" in file:
            known = _phase_in_keras(file, name)
        elif file.endswith("tensorflow/python/eager/backprop.py") and name in (
            "_gradient_function",
            "gradient",
            "jacobian",
            "batch_jacobian",
        ):
            known = BACKWARD
        _phase_of_code[code] = known
    return known


_MINIMISING = ("minimize", "compute_gradients", "_compute_gradients", "_get_gradients")
"""Methods of Keras 2 optimizers that run the forward and the backward pass."""
_LOSS_FILES = ("/losses.py", "/losses_utils.py", "/compile_utils.py")


def _phase_in_keras(file: str, name: str) -> str:
    if "/optimizers/" in file and "schedule" not in file:
        return FORWARD if name in _MINIMISING else OPTIMIZER
    if file.endswith("/mixed_precision/loss_scale_optimizer.py"):
        if "scaled_loss" in name:
            return LOSS
        return OPTIMIZER if "unscaled" in name or "apply" in name else FORWARD
    if "/metrics/" in file or name in ("compute_metrics", "_compute_metrics"):
        return METRIC
    # of compile_utils only the container of losses is called; that of metrics is updated
    if "/losses/" in file or name in ("compute_loss", "_compute_loss"):
        return LOSS
    if file.endswith(_LOSS_FILES) and (name == "__call__" or "compile_utils" not in file):
        return LOSS
    return FORWARD


def phase_here(skip: int = 2) -> str:
    """Phase of the op that is being executed: the strongest that any frame stands for."""
    frame = sys._getframe(skip)
    best, rank = FORWARD, 0
    while frame is not None:
        found = phase_of(frame.f_code)
        if RANK[found] > rank:
            best, rank = found, RANK[found]
        frame = frame.f_back  # type: ignore[assignment]
    return best


def user_line(skip: int = 2) -> Optional[Dict[str, Any]]:
    """Innermost line of the user's program on the stack."""
    frame = sys._getframe(skip)
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            return described_line(frame.f_code, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def described_line(code: Any, line: int) -> Dict[str, Any]:
    """Fields of the report's source line."""
    return {
        "file": Path(code.co_filename).name,
        "line": line,
        "function": code.co_name,
        "code": linecache.getline(code.co_filename, line).strip(),
    }


def forward_operands(skip: int = 2) -> Optional[Tuple[str, Tuple[Any, ...], Tuple[Any, ...]]]:
    """Of a backward op: type, inputs and outputs of the forward op whose gradient is computed."""
    frame = sys._getframe(skip)
    while frame is not None:
        if frame.f_code.co_name == "_gradient_function" and "op_name" in frame.f_locals:
            values = frame.f_locals
            op = values["op_name"]
            return (
                op.decode() if isinstance(op, bytes) else str(op),
                tuple(values.get("inputs") or ()),
                tuple(values.get("outputs") or ()),
            )
        frame = frame.f_back  # type: ignore[assignment]
    return None


def updated_variable(skip: int = 2) -> Optional[str]:
    """Of an optimizer op: path of the variable whose update is computed."""
    frame = sys._getframe(skip)
    while frame is not None:
        if frame.f_code.co_name in ("update_step", "_update_step", "_resource_apply_dense"):
            values = frame.f_locals
            variable = values.get("variable", values.get("var"))
            if variable is not None:
                return getattr(variable, "path", None) or str(variable.name).split(":")[0]
        frame = frame.f_back  # type: ignore[assignment]
    return None


def layer_path() -> str:
    """Names of the Keras layers (or optimizer) that are being called, outermost first."""
    global _current_path, _old_keras
    if _current_path is None:
        _current_path = probes.part(probes.LAYER_PATH) or (lambda: "")
        _old_keras = keras_api.old_is_loaded()
    path: str = _current_path()
    # a layer of Keras 2 may be called beside those of Keras 3
    return path or (layer_calls.path_here(2) if _old_keras else "")


_current_path: Any = None
_old_keras = False


def layer_of_variable(path: str) -> str:
    """Layer that a variable belongs to: its path without the variable's own name."""
    return path.rsplit("/", 1)[0] if "/" in path else path
