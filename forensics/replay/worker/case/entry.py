"""Load the user's program and call the function that hands over the case."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import re
import sys
from pathlib import Path
from typing import Any, Dict, FrozenSet, Mapping, Optional, Sequence

_NODE_PREFIX = re.compile(r"^\{\{[^}]*\}\}\s*")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class CaseError(Exception):
    """The entry point does not give a usable case; the message is for the user."""


class _ForensicsFinder(importlib.abc.MetaPathFinder):
    """Serves `import forensics` to the user's program, and nothing else of this installation.

    Under another interpreter the package is not installed; putting its parent folder on the path
    would also offer every other package of that folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Optional[Sequence[str]] = None, target: Any = None
    ) -> Optional[importlib.machinery.ModuleSpec]:
        if fullname != "forensics":
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            self._folder / "__init__.py",
            submodule_search_locations=[str(self._folder)],
        )


class Case:
    """The user's case in one shape, whether it came as a `ReplayCase` or as a plain dict."""

    def __init__(self, given: Any) -> None:
        def get(key: str) -> Any:
            return given.get(key) if isinstance(given, dict) else getattr(given, key, None)

        self.model: Any = get("model")
        self.step: Any = get("step")
        self.batch: Any = get("batch")
        self.dataset: Any = get("dataset")
        self.owner: Any = None
        """What must live as long as the case: variables of a loaded model die with it."""
        self.opaque = False
        """Whether the step is a compiled function without its program: never run op by op."""
        self.layer_names: FrozenSet[str] = frozenset()
        """Layers of a model without its program, as scopes of graph ops name them."""
        self.recording: Any = None
        """What a FlightRecorder kept of the run, where there is that: its batches come first."""
        self.first_step = 0
        """The first step that there is a batch for."""
        restore = get("restore")
        if self.step is not None and not callable(self.step):
            raise CaseError("step= of the case is no function")
        if self.batch is not None and not callable(self.batch):
            raise CaseError("batch= of the case is no function: write batch=lambda i: (x, y)")
        if restore is not None and not isinstance(restore, Mapping):
            raise CaseError("restore= of the case is no mapping of names to objects")
        if self.model is None and self.step is None:
            raise CaseError("the case has neither a model nor a step")
        if self.step is None and getattr(self.model, "compiled", True) is False:
            raise CaseError("the model is not compiled: compile it, or give step=")
        if self.batch is None and self.dataset is None:
            raise CaseError("the case has neither batch nor dataset")
        self.restore: Dict[str, Any] = dict(restore) if restore else self._default_restore()

    def _default_restore(self) -> Dict[str, Any]:
        if self.model is None:
            return {}
        optimizer = getattr(self.model, "optimizer", None)
        return {"model": self.model, **({"optimizer": optimizer} if optimizer is not None else {})}


def load_case(file: str, function: str) -> Case:
    """Import `file` as a module of its own and call `function`.

    Raises
    ------
    CaseError
        When the file raises, has no such function, or the function raises or returns no case.
    """
    program = Path(file)
    sys.meta_path.append(_ForensicsFinder(Path(__file__).resolve().parents[3]))
    sys.path.insert(0, str(program.parent))
    # `python -I` ignores it, but the program finds its modules by it; the worker's are loaded
    sys.path[1:1] = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    name = program.stem
    if name in sys.modules:
        name = "_replayed_" + name
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise CaseError("%s is not a Python file" % program.name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise CaseError(
            "%s raised while it was imported: %s" % (program.name, brief(error))
        ) from error
    build = getattr(module, function, None)
    if not callable(build):
        raise CaseError("%s has no function %r" % (program.name, function))
    try:
        given = build()
    except (Exception, SystemExit) as error:
        raise CaseError("%s() raised: %s" % (function, brief(error))) from error
    if given is None:
        raise CaseError("%s() returned None instead of a ReplayCase" % function)
    return Case(given)


def brief(error: BaseException) -> str:
    """Type of an error and the line of its message that says what is wrong."""
    text = _COLOUR.sub("", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = lines[0] if lines else ""
    if said.startswith("Exception encountered when calling") and len(lines) > 1:
        # Keras names the layer first, then what is wrong with its input
        said = lines[1]
    elif said.startswith("Graph execution error"):
        # the stack of the op comes first, then what is wrong, then the node
        node = next((i for i, line in enumerate(lines) if line.startswith("[[{{node")), 0)
        said = lines[node - 1] if node > 0 else lines[-1]
    elif said.startswith("in user code:"):
        # autograph: the converted stack comes first, then the error itself
        said = lines[-1]
    elif said.endswith(":") and len(lines) > 1:
        said += " " + lines[1]
    said = _NODE_PREFIX.sub("", said)
    return type(error).__name__ + (": " + said[:300] if said else "")
