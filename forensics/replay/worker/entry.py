"""Load the user's program and call the function that hands over the case."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from typing import Any, Optional, Sequence


class CaseError(Exception):
    """The entry point does not give a usable case; the message is for the user."""


class _ForensicsFinder(importlib.abc.MetaPathFinder):
    """Serves `import forensics` to the user's program, and nothing else of this installation.

    Under another interpreter the package is not installed; putting its parent folder on the path
    would also offer every other package of that folder.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Optional[Sequence[str]] = None, target: Any = None
    ) -> Optional[importlib.machinery.ModuleSpec]:
        if fullname != "forensics":
            return None
        return importlib.util.spec_from_file_location(
            fullname,
            os.path.join(self._folder, "__init__.py"),
            submodule_search_locations=[self._folder],
        )


class Case:
    """The user's case in one shape, whether it came as a `ReplayCase` or as a plain dict."""

    def __init__(self, given: Any) -> None:
        get = given.get if isinstance(given, dict) else lambda key: getattr(given, key, None)
        self.model, self.step, self.batch = get("model"), get("step"), get("batch")
        self.dataset, restore = get("dataset"), get("restore")
        if self.model is None and self.step is None:
            raise CaseError("the case has neither a model nor a step")
        if self.batch is None and self.dataset is None:
            raise CaseError("the case has neither batch nor dataset")
        self.restore = dict(restore) if restore else self._default_restore()

    def _default_restore(self) -> dict:
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
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sys.meta_path.append(_ForensicsFinder(package))
    sys.path.insert(0, os.path.dirname(file))
    name = os.path.splitext(os.path.basename(file))[0]
    if name in sys.modules:
        name = "_replayed_" + name
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise CaseError("%s is not a Python file" % os.path.basename(file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise CaseError("%s raised while it was imported: %s" % (file_name(file), brief(error)))
    build = getattr(module, function, None)
    if not callable(build):
        raise CaseError("%s has no function %r" % (file_name(file), function))
    try:
        given = build()
    except (Exception, SystemExit) as error:
        raise CaseError("%s() raised: %s" % (function, brief(error)))
    if given is None:
        raise CaseError("%s() returned None instead of a ReplayCase" % function)
    return Case(given)


def file_name(path: str) -> str:
    """Name without folders, for messages."""
    return os.path.basename(path)


def brief(error: BaseException) -> str:
    """Type and first line of an error."""
    text = str(error).strip().splitlines()
    return type(error).__name__ + (": " + text[0][:300] if text else "")
