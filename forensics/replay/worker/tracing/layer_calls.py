"""The layers of Keras 2 that are being called, read off the Python stack.

Keras 3 keeps a path of names for every op (`current_path`); Keras 2 does so only in graphs.
"""

from __future__ import annotations

import sys
from typing import Any, Dict, List

_is_call: Dict[Any, bool] = {}


def is_layer_call(code: Any) -> bool:
    """Whether a frame with this code is `Layer.__call__` of Keras 2."""
    known = _is_call.get(code)
    if known is None:
        file = code.co_filename.replace("\\", "/")
        known = code.co_name == "__call__" and file.endswith("keras/src/engine/base_layer.py")
        # before 2.13 there was no `src`
        known = known or (
            code.co_name == "__call__" and file.endswith("keras/engine/base_layer.py")
        )
        _is_call[code] = known
    return known


def path_here(skip: int = 1) -> str:
    """Names of the layers being called, outermost first, joined by ``/``; empty outside layers.

    An outermost model that is a graph of layers is left out, as in the names of its variables.
    """
    called: List[Any] = []
    frame = sys._getframe(skip)
    while frame is not None:
        if is_layer_call(frame.f_code):
            owner = frame.f_locals.get("self")
            if owner is not None and not (called and called[-1] is owner):
                called.append(owner)
        frame = frame.f_back  # type: ignore[assignment]
    if called and getattr(called[-1], "_is_graph_network", False):
        called.pop()
    return "/".join(str(owner.name) for owner in reversed(called))
