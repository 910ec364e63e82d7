"""Lines of functions that TensorFlow rewrote (autograph), mapped back to the user's own."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, Dict, Tuple

_maps: Dict[str, Dict[int, Any]] = {}


def is_generated(file: str) -> bool:
    """Whether a file was written by autograph."""
    return Path(file).name.startswith("__autograph_generated_file")


def original(frame: Any) -> Tuple[Any, int]:
    """Code and line that the user wrote for a frame of generated code; (None, 0) if unknown."""
    found = _map_of(frame).get(frame.f_lineno)
    if found is None:
        return None, 0
    line = found.loc.lineno
    return Written(found.loc.filename, found.function_name, line), line


class Written:
    """Stands for the code object of a function that runs in its rewritten form only."""

    __slots__ = ("co_filename", "co_firstlineno", "co_name")

    def __init__(self, file: str, name: str, line: int) -> None:
        self.co_filename, self.co_name, self.co_firstlineno = file, name, line


def _map_of(frame: Any) -> Dict[int, Any]:
    """Origin of each line of the frame's file: a function of that file carries the map."""
    file = frame.f_code.co_filename
    inner = frame
    while inner is not None and file not in _maps:
        if inner.f_code.co_filename == file:
            for holder in gc.get_referrers(inner.f_code):
                made = getattr(holder, "ag_source_map", None)
                if made is not None:
                    _maps[file] = {k.lineno: v for k, v in made.items()}
        inner = inner.f_back
    return _maps.get(file, {})
