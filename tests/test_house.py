"""What holds for the project as a whole: its floors' edges, its files, its build."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

# Loaded only by the function that needs them: a start of the command must not pay for them.
HEAVY = ("tensorflow", "keras", "tensorboard", "pandas", "scipy", "h5py", "jinja2", "rich")

MAX_LINES = 400


def old_interpreter_files(repo_root: Path) -> Iterator[Path]:
    """Files that run under the interpreter of the failed run."""
    package = repo_root / "forensics"
    yield package / "__init__.py"
    yield package / "replay" / "__init__.py"
    yield package / "replay" / "case.py"
    yield from worker_files(repo_root)


def worker_files(repo_root: Path) -> list[Path]:
    return sorted((repo_root / "forensics" / "replay" / "worker").rglob("*.py"))


def imported_by(path: Path, package: Path) -> Iterator[str]:
    """Top-level names imported anywhere in a file; `..` for a relative import leaving `package`."""
    depth = len(path.relative_to(package).parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level > depth:
            yield ".."
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]


def test_files_of_the_old_interpreter_keep_to_python_3_9_syntax(repo_root: Path) -> None:
    assert worker_files(repo_root), "the replay worker has no files"
    for path in old_interpreter_files(repo_root):
        ast.parse(path.read_text(encoding="utf-8"), filename=str(path), feature_version=(3, 9))


@pytest.mark.parametrize("version", ["3.9", "3.10"])
def test_a_training_program_of_an_old_interpreter_can_build_a_replay_case(
    repo_root: Path, version: str
) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-V"], capture_output=True).returncode != 0:
        pytest.skip(f"no Python {version} here")
    program = (
        "import forensics; case = forensics.ReplayCase(step=print, batch=str); "
        "assert case.batch(3) == '3'"
    )
    done = subprocess.run([python, "-c", program], cwd=repo_root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_worker_stands_alone(repo_root: Path) -> None:
    # h5py comes with every TensorFlow: Keras reads its own files through it
    allowed = {*sys.stdlib_module_names, "numpy", "tensorflow", "keras", "tf_keras", "h5py"}
    worker = repo_root / "forensics" / "replay" / "worker"
    strangers = {
        str(path.relative_to(repo_root)): foreign
        for path in worker_files(repo_root)
        if (foreign := set(imported_by(path, worker)) - allowed)
    }
    assert strangers == {}


@pytest.mark.parametrize("module", ["forensics", "forensics.cli.main", "forensics.pipeline"])
def test_a_start_loads_nothing_heavy(module: str) -> None:
    program = f"import sys, {module}; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_modules_stay_small(repo_root: Path) -> None:
    too_long = {
        str(path.relative_to(repo_root)): lines
        for path in sorted((repo_root / "forensics").rglob("*.py"))
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert too_long == {}


def test_no_module_is_a_dump(repo_root: Path) -> None:
    dumps = [
        path
        for path in (repo_root / "forensics").rglob("*.py")
        if path.stem in {"utils", "util", "helpers", "misc", "common"}
    ]
    assert dumps == []


def test_the_gallery_holds_no_code(repo_root: Path) -> None:
    assert list((repo_root / "reports").rglob("*.py")) == []


def test_test_modules_have_names_of_their_own(repo_root: Path) -> None:
    names = Counter(path.name for path in (repo_root / "tests").rglob("test_*.py"))
    assert [name for name, times in names.items() if times > 1] == []


def test_constraints_pin_exact_versions_without_addresses(repo_root: Path) -> None:
    for requirement in constraints(repo_root):
        assert requirement.url is None, requirement
        assert [clause.operator for clause in requirement.specifier] == ["=="], requirement


def test_constraints_lie_within_the_ranges_of_the_project(repo_root: Path) -> None:
    pinned = {
        canonicalize_name(requirement.name): Version(next(iter(requirement.specifier)).version)
        for requirement in constraints(repo_root)
    }
    project = tomllib.loads((repo_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for requirement in map(Requirement, wanted):
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement}, pinned {version}"


def constraints(repo_root: Path) -> list[Requirement]:
    lines = (repo_root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_make_lists_every_target(repo_root: Path) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make here")
    done = subprocess.run([make, "-s"], cwd=repo_root, capture_output=True, text=True, check=True)
    phony = re.search(r"^\.PHONY:(.*)$", (repo_root / "Makefile").read_text(encoding="utf-8"), re.M)
    assert phony is not None
    listed = re.findall(r"^  make ([a-z-]+) +\S", done.stdout, re.M)
    assert sorted(listed) == sorted(phony.group(1).split())
