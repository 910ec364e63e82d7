"""An old interpreter with an old TensorFlow: found, or built once and kept in `build/`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.10", "3.9")
GIVEN = "FORENSICS_TEST_OLD_PYTHON"
"""Environment variable that names an interpreter with TensorFlow 2.15, in place of a new one."""
PACKAGES = ("tensorflow-cpu==2.15.*", "tensorflow==2.15.*")
_BUILT = "complete"


def interpreters() -> Iterator[tuple[str, Path]]:
    """Working interpreters of old versions, on the search path or below pyenv's folder."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for number in VERSIONS:
        on_path = shutil.which(f"python{number}")
        candidates = [Path(on_path)] if on_path else []
        candidates += sorted(pyenv.glob(f"{number}.*/bin/python"))
        working = next((c for c in candidates if _is(c, number)), None)
        if working is not None:
            yield number, working


def _is(python: Path, number: str) -> bool:
    """Whether it starts and is what its name says: a shim of pyenv may do neither."""
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(
            [str(python), "-I", "-c", question], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.strip() == number


def old_python() -> Path:
    """Interpreter with TensorFlow 2.15; skips the test where none can be had."""
    given = os.environ.get(GIVEN)
    if given:
        return Path(given)
    found = next(interpreters(), None)
    if found is None:
        pytest.skip("neither Python 3.9 nor 3.10 is installed")
    number, base = found
    folder = ROOT / "build" / f"tensorflow-2.15-python-{number}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / _BUILT).exists():
        _build(base, folder, python)
        (folder / _BUILT).touch()
    return python


def tf_keras_folder() -> Path:
    """Folder with `tf_keras` of the release of TensorFlow here; skips where none can be had."""
    release = ".".join(version("tensorflow").split(".")[:2])
    folder = ROOT / "build" / f"tf_keras-{release}"
    if not (folder / _BUILT).exists():
        shutil.rmtree(folder, ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        try:
            _run([*pip, "--target", str(folder), f"tf_keras=={release}.*"], 300)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"tf_keras {release} cannot be installed here: {error}")
        (folder / _BUILT).touch()
    return folder


def _build(base: Path, folder: Path, python: Path) -> None:
    try:
        _run([str(base), "-m", "venv", "--clear", str(folder)], 300)
        failures = []
        for package in PACKAGES:
            try:
                _run([str(python), "-m", "pip", "install", "--quiet", package], 1500)
                return
            except subprocess.CalledProcessError as error:
                failures.append(error.stderr.strip().splitlines()[-1:])
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no environment could be built: {error}")
    pytest.skip(f"TensorFlow 2.15 cannot be installed here: {failures}")


def _run(command: list[str], seconds: int) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds)
