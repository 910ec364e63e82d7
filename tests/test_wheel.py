"""The wheel holds all that the package needs: it renders without the checkout beside it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


def run_python(*arguments: str, cwd: Path, pythonpath: Path | None = None) -> str:
    environment = dict(os.environ)
    environment.pop("PYTHONPATH", None)
    if pythonpath is not None:
        environment["PYTHONPATH"] = str(pythonpath)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr or done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def wheel(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(repo_root)]
    run_python(*build, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
    run_python("-m", "pip", "install", *options, f"--target={target}", str(wheel), cwd=target)
    return target


def test_the_wheel_is_named_as_promised(wheel: Path) -> None:
    assert wheel.name.startswith("tf_forensics-")


def test_the_wheel_holds_the_templates_the_types_and_nothing_else(
    wheel: Path, repo_root: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    templates = repo_root / "templates"
    files = [path for path in templates.rglob("*") if path.is_file()]
    assert files
    assert {f"forensics/templates/{path.relative_to(templates).as_posix()}" for path in files} <= (
        names
    )
    assert "forensics/py.typed" in names
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"forensics"}


def test_the_installed_package_finds_its_own_templates(installed: Path, repo_root: Path) -> None:
    program = "from forensics.report.templates import template_folder; print(template_folder())"
    found = Path(run_python("-c", program, cwd=installed, pythonpath=installed).strip())
    assert found.resolve() == (installed / "forensics" / "templates").resolve()
    for path in (repo_root / "templates").rglob("*"):
        if path.is_file():
            copy = found / path.relative_to(repo_root / "templates")
            assert copy.read_bytes() == path.read_bytes()


def test_the_installed_package_has_its_command(installed: Path) -> None:
    (script,) = installed.glob("bin/forensics")
    printed = run_python("-m", "forensics", "--version", cwd=installed, pythonpath=installed)
    program = "import forensics; print(forensics.__version__)"
    version = run_python("-c", program, cwd=installed, pythonpath=installed).strip()
    assert version in printed
    assert "forensics.cli.main" in script.read_text(encoding="utf-8")
