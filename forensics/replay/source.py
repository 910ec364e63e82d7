"""What `--replay` names: the program of the run, its recording, or a saved model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from forensics.domain.run import Run
from forensics.errors import ConsentNeeded, UsageError
from forensics.replay.request import ReplayOptions
from forensics.sources.recording import FOLDER, MANIFEST

_KERAS_FILES = (".keras", ".h5", ".hdf5")
_CHOICE = (
    "write FILE:function, for example train.py:replay_case, or name a recording (a folder "
    f"{FOLDER}), a .keras file or a SavedModel folder"
)

_NEED_SOURCE = ("batch", "scan", "python", "reproducer")


class SourceKind(StrEnum):
    """Where the step to replay comes from."""

    ENTRY_POINT = "entry_point"
    RECORDING = "recording"
    KERAS_FILE = "keras_file"
    SAVED_MODEL = "saved_model"


@dataclass(frozen=True, slots=True)
class Source:
    """A source that exists on disk.

    Parameters
    ----------
    kind : SourceKind
        What it is.
    path : Path
        Absolute: the program, the folder of the recording, the saved model.
    function : str or None
        Of an entry point: the function that returns the case.
    """

    kind: SourceKind
    path: Path
    function: str | None = None


def parse_source(text: str, batch: Path | None = None) -> Source:
    """Tell what `--replay` names.

    Parameters
    ----------
    text : str
        As typed.
    batch : Path, optional
        What `--batch` names: a saved model alone has no data.

    Raises
    ------
    UsageError
        When it names nothing that can be replayed; the message says what to type.
    """
    path = Path(text)
    if path.is_dir():
        return _folder(text, path)
    if path.is_file() and path.suffix.lower() in _KERAS_FILES:
        if batch is None:
            raise UsageError(f"--replay {text!r}: a saved model has no data, add --batch FILE.npz")
        return Source(SourceKind.KERAS_FILE, path.resolve())
    file, function = parse_entry(text)
    return Source(SourceKind.ENTRY_POINT, file, function)


def _folder(text: str, path: Path) -> Source:
    for folder in (path, path / FOLDER):
        if (folder / MANIFEST).is_file():
            return Source(SourceKind.RECORDING, folder.resolve())
    if (path / "saved_model.pb").is_file():
        return Source(SourceKind.SAVED_MODEL, path.resolve())
    raise UsageError(
        f"--replay {text!r}: neither {MANIFEST} of a recording nor saved_model.pb in it; {_CHOICE}"
    )


def parse_entry(entry: str) -> tuple[Path, str]:
    """Split ``FILE:function``.

    Raises
    ------
    UsageError
        When there is no function in it or the file does not exist.
    """
    file, colon, function = entry.rpartition(":")
    if not colon or not file or not function.isidentifier():
        raise UsageError(f"--replay {entry!r}: {_CHOICE}")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"--replay {entry!r}: there is no file {file}")
    return path.resolve(), function


def recording_of(run: Run) -> Path | None:
    """Folder of the recording below a log directory, the one that went furthest; None without."""
    last = max(run.recordings, key=lambda batch: (batch.step, batch.path), default=None)
    return None if last is None else (Path(run.root) / last.path).parent.resolve()


def consented_source(run: Run, options: ReplayOptions) -> str | None:
    """Return the source that is replayed although `--replay` names none; None: nothing is.

    Raises
    ------
    ConsentNeeded
        When a replay is asked for that would run what lies in the log directory.
    UsageError
        When a replay is asked for and there is nothing to run.
    """
    found = recording_of(run)
    if options.trust:
        if found is None:
            raise UsageError("--trust: there is no recording below LOGDIR, name the program: "
                             "--replay FILE:function")  # fmt: skip
        return str(found)
    asked = next((f"--{name}" for name in _NEED_SOURCE if getattr(options, name)), None)
    if asked is None:
        return None
    if found is None:
        raise UsageError(f"{asked}: say what to replay, --replay FILE:function")
    raise ConsentNeeded(
        f"{asked}: replaying the recording in LOGDIR runs the model in it; add --trust if you "
        "trust whoever made it, or name your own program: --replay FILE:function"
    )
