"""Files that the child leaves for its parent: the data of a reproducer.

The script itself comes with the answer, as a text that the child wrote. It is kept only if each of
its statements is of a form that the worker's own generator writes (`script_check`): numbers, one op
called through `tf.raw_ops`, a look at what it answers. Of the child's folder one file is taken, by
a fixed name, and only if it is what it should be.
"""

from __future__ import annotations

import os
import stat
import tempfile
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from forensics.domain.replay import ReplayResult
from forensics.replay.script_check import refused

SCRIPT, DATA = "reproducer.py", "reproducer.npz"
MAX_BYTES = 80 << 20
"""The worker keeps operands of at most 64 MB; compressed they hardly grow."""
MAX_UNPACKED = 256 << 20


def with_reproducer(result: ReplayResult, private: Path, wanted: Path | None) -> ReplayResult:
    """Keep the reproducer of a result where the caller wants it.

    Parameters
    ----------
    result : ReplayResult
        Its ``reproducer_script`` is what is kept.
    private : Path
        Folder that the child wrote its data to.
    wanted : Path or None
        Folder that takes script and data, made if need be; None: nothing is kept.

    Returns
    -------
    ReplayResult
        With ``reproducer`` the script's path, relative to the working directory if it lies below
        it; a remark is added when it could not be kept, or when its data are lost with `private`.
        A script that holds anything but a reproducer is dropped, and the remark says so.
    """
    result = replace(result, reproducer=None)
    text = result.reproducer_script
    if text is None:
        return result
    why = refused(text)
    if why is not None:
        dropped = replace(result, reproducer_script=None)
        return _remarked(dropped, f"the reproducer that the replay sent was dropped: {why}")
    if wanted is None:
        needs = f"the reproducer reads {DATA}: --reproducer DIR keeps it"
        return _remarked(result, needs) if DATA in text else result
    try:
        data = read_data(private / DATA) if DATA in text else None
        wanted.mkdir(parents=True, exist_ok=True)
        if data is not None:
            _put(wanted / DATA, data)
        _put(wanted / SCRIPT, text.encode("utf-8"))
    except (OSError, ValueError) as error:
        return _remarked(result, f"the reproducer could not be kept: {error}")
    return replace(result, reproducer=_said(wanted / SCRIPT))


def read_data(path: Path) -> bytes:
    """Read an npz file that the child wrote.

    Raises
    ------
    OSError
        When there is none, or it is a link.
    ValueError
        When it is no regular file, too large, or no archive of plain arrays.
    """
    # a pipe of that name must not make the parent wait for a writer
    careful = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, os.O_RDONLY | careful)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise ValueError(f"{DATA} is no regular file")
        if about.st_size > MAX_BYTES:
            raise ValueError(f"{DATA} is larger than {MAX_BYTES >> 20} MB")
        _check_archive(file.fileno())
        file.seek(0)
        return file.read(MAX_BYTES)


def _check_archive(descriptor: int) -> None:
    with os.fdopen(os.dup(descriptor), "rb") as file:
        try:
            members = zipfile.ZipFile(file).infolist()
        except zipfile.BadZipFile as error:
            raise ValueError(f"{DATA} is no npz file") from error
    for member in members:
        name = member.filename
        if not (name.endswith(".npy") and name[:-4].isidentifier()):
            raise ValueError(f"{DATA} holds {name[:60]!r}, which is no array")
    if sum(m.file_size for m in members) > MAX_UNPACKED:
        raise ValueError(f"{DATA} unpacks to more than {MAX_UNPACKED >> 20} MB")


def _remarked(result: ReplayResult, remark: str) -> ReplayResult:
    return replace(result, reason="; ".join(filter(None, [result.reason, remark])))


def _put(path: Path, content: bytes) -> None:
    """Write a file in one go; a link of that name is replaced, not followed."""
    descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(made).chmod(0o644)
        Path(made).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(made).unlink()
        raise


def _said(path: Path) -> str:
    with suppress(ValueError, OSError):
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    return str(path)
