"""Start of the child: `python -I .../worker/__main__.py`, request on stdin, answer on stdout.

Run as a script the package has no name yet; it is registered under one of its own, so that neither
this folder nor its parent has to be put on `sys.path`, where they would shadow the user's modules.
"""

import importlib.util
import sys
from pathlib import Path

_NAME = "_forensics_replay_worker"


def _load_package() -> None:
    folder = Path(__file__).resolve().parent
    spec = importlib.util.spec_from_file_location(
        _NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    _load_package()
    importlib.import_module(_NAME + ".order").main()
