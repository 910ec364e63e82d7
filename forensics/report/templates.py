"""Where the templates lie: in the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path


def template_folder() -> Path:
    """Return the folder of templates.

    Raises
    ------
    FileNotFoundError
        When the installation is broken.
    """
    package = Path(__file__).resolve().parent.parent
    tried = (package / "templates", package.parent / "templates")
    for folder in tried:
        if (folder / "report.html.j2").is_file():
            return folder
    raise FileNotFoundError(f"no templates in {tried[0]} nor {tried[1]}: broken installation")
