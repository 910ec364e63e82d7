"""Which URLs can be read, by which filesystem of fsspec, and what must be installed for it."""

from __future__ import annotations

import re
from typing import Any

from forensics.errors import UsageError
from forensics.sources.storage.remote_errors import reason

_NEEDS = {
    "s3": ("s3fs", "tf-forensics[s3]"),
    "gs": ("gcsfs", "tf-forensics[gs]"),
    "hf": ("huggingface_hub", "tf-forensics[hf]"),
    "http": ("aiohttp", "aiohttp"),
    "https": ("aiohttp", "aiohttp"),
    "memory": ("fsspec", "fsspec"),
}
"""By scheme: the package that reads it, and what to install."""
_ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
# a `pathlib.Path` has made one slash of two
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):/(?P<second>/?)(?P<rest>.*)", re.DOTALL)


def split_url(text: str) -> tuple[str, str] | None:
    """Scheme and rest of a URL, None for a path.

    Raises
    ------
    UsageError
        It is a URL of a scheme that is not read.
    """
    match = _URL.fullmatch(text)
    if match is None:
        return None
    scheme = match["scheme"].lower()
    scheme = _ALIASES.get(scheme, scheme)
    if scheme in _NEEDS or scheme == "file":
        return scheme, match["rest"]
    if not match["second"]:
        return None
    known = ", ".join(f"{name}://" for name in _NEEDS)
    raise UsageError(f"{scheme}:// is not read; a run may lie on a disk or at {known}")


def open_filesystem(scheme: str) -> Any:
    """Filesystem of fsspec, with whatever the environment says of credentials and endpoints.

    Raises
    ------
    UsageError
        Its package is not installed, or it cannot be set up.
    """
    import logging

    import fsspec

    package, install = _NEEDS[scheme]
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except ImportError:
        raise UsageError(
            f"{scheme}:// needs {package}, which is not installed: pip install '{install}'"
        ) from None
    # what they log of an error is the traceback of what is told here in one line
    logging.getLogger(package).addHandler(logging.NullHandler())
    try:
        # listings must be those of now: what was there when it was read is compared with them
        return kind(use_listings_cache=False)
    except Exception as error:
        raise UsageError(f"{scheme}:// cannot be set up: {reason(error)}") from None
