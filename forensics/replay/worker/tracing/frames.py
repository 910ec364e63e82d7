"""What the Python stack says about an op: phase, user's line, layer, forward twin."""

from __future__ import annotations

import ast
import linecache
import os
import sys
import sysconfig
from pathlib import Path
from typing import Any, Dict, List, Optional, Set, Tuple

from .. import probes
from ..keras_family import keras_api
from . import autographs, layer_calls

_HERE = Path(__file__).resolve().parents[1]
_FORENSICS = _HERE.parents[1]
_LIBRARY = tuple(
    os.path.normcase(p) + os.sep
    for p in {sysconfig.get_paths().get(k) for k in ("stdlib", "platstdlib")}
    if p
)

OPTIMIZER, METRIC, BACKWARD, LOSS, FORWARD = "optimizer", "metric", "backward", "loss", "forward"
RANK = {OPTIMIZER: 4, METRIC: 3, BACKWARD: 2, LOSS: 1, FORWARD: 0}

_BACKWARD = {
    "eager/backprop.py": ("_gradient_function", "gradient", "jacobian", "batch_jacobian"),
    "eager/forwardprop.py": ("_jvp_dispatch",),
}
"""Functions of TensorFlow that compute derivatives, by file."""

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
            or autographs.is_generated(path)
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
        keras = "/keras/" in file or "/tf_keras/" in file
        if keras and not is_user_file(code.co_filename):
            known = _phase_in_keras(file, name)
        elif name in _BACKWARD.get(file.rsplit("/tensorflow/python/", 1)[-1], ()):
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


class Place:
    """Where in the program an op ran: phase, and the user's line (code object and number).

    ``own_gradient`` is True for a line of a gradient that the user wrote.
    """

    __slots__ = ("code", "line", "own_gradient", "phase")

    def __init__(self) -> None:
        self.phase, self.own_gradient = FORWARD, False
        self.code: Any = None
        self.line = 0

    @property
    def source(self) -> Optional[Dict[str, Any]]:
        """Fields of the report's source line."""
        return described_line(self.code, self.line) if self.code is not None else None


def here(skip: int = 2) -> Place:
    """Look up the stack once: the strongest phase of any frame, the innermost user's line."""
    place, rank = Place(), 0
    frame = sys._getframe(skip)
    while frame is not None:
        code = frame.f_code
        known = _kind_of_code.get(code)
        if known is None:
            known = _kind_of_code[code] = (phase_of(code), _whose(code.co_filename))
        phase, whose = known
        if place.code is None and whose:
            place.code, place.line = code, frame.f_lineno
            if whose == _GENERATED:
                place.code, place.line = autographs.original(frame)
            place.own_gradient = rank < RANK[BACKWARD]
        if rank < RANK[phase]:
            place.phase, rank = phase, RANK[phase]
        frame = frame.f_back  # type: ignore[assignment]
    place.own_gradient = place.own_gradient and place.phase == BACKWARD
    return place


_USER, _GENERATED, _OTHER = "user", "generated", ""
_kind_of_code: Dict[Any, Tuple[str, str]] = {}


def _whose(file: str) -> str:
    if is_user_file(file):
        return _USER
    return _GENERATED if autographs.is_generated(file) else _OTHER


def turn_of_loop(skip: int = 2) -> Optional[str]:
    """Variables of the innermost Python loop round the user's line, such as ``i = 3``."""
    frame = sys._getframe(skip)
    while frame is not None:
        if is_user_file(frame.f_code.co_filename):
            return loop_variables(frame.f_code, frame.f_lineno, frame.f_locals)
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


def loop_variables(code: Any, line: int, values: Dict[str, Any]) -> Optional[str]:
    """Integers that a loop round a line counts with; None outside loops, or without such."""
    for names in _loops_round(code, line):
        said = [
            "%s = %d" % (n, v) for n in names for v in [_integer(values.get(n))] if v is not None
        ]
        if said:
            return ", ".join(said)
    return None


def _integer(value: Any) -> Optional[int]:
    try:
        return int(value.__index__()) if not isinstance(value, bool) else None
    except Exception:
        return None


def _loops_round(code: Any, line: int) -> List[List[str]]:
    """Names that the loops of a function count with: loops round a line, innermost first."""
    key = (code.co_filename, line)
    if key not in _loops_of_line:
        _loops_of_line[key] = _find_loops(code, line)
    return _loops_of_line[key]


_loops_of_line: Dict[Tuple[str, int], List[List[str]]] = {}


def _find_loops(code: Any, line: int) -> List[List[str]]:
    try:
        tree = ast.parse("".join(linecache.getlines(code.co_filename)))
    except SyntaxError:
        return []
    found: List[Tuple[int, List[str]]] = []
    for node in ast.walk(tree):
        if not isinstance(node, (ast.For, ast.While)) or node.lineno < code.co_firstlineno:
            continue
        if node.body[0].lineno <= line <= (node.body[-1].end_lineno or 0):
            counting = node.target if isinstance(node, ast.For) else node.test
            names: Set[str] = {n.id for n in ast.walk(counting) if isinstance(n, ast.Name)}
            found.append((node.lineno, sorted(names)))
    return [names for _, names in sorted(found, reverse=True)]


_DERIVATIVES = ("_gradient_function", "_jvp_dispatch")


def forward_operands(skip: int = 2) -> Optional[Tuple[str, Tuple[Any, ...], Tuple[Any, ...]]]:
    """Of a backward op: type, inputs and outputs of the forward op whose gradient is computed."""
    frame = sys._getframe(skip)
    while frame is not None:
        if frame.f_code.co_name in _DERIVATIVES and "op_name" in frame.f_locals:
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
