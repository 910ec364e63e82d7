"""The one error tree of the program, a stable slug each.

Wrong usage is raised to the caller; broken input is raised as `Damaged` low down and becomes a
`ReadWarning` in the `Run` as soon as a reader knows what it could keep.
"""

from __future__ import annotations

from typing import ClassVar


class ForensicsError(Exception):
    """Base of every error this program raises on purpose."""

    slug: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 4


class UsageError(ForensicsError):
    """The caller asked for something that cannot be done; the message says what to do instead."""

    slug = "usage"
    exit_code = 2


class NothingToAnalyze(UsageError):
    """The log directory is missing, empty or holds neither event files nor checkpoints."""

    slug = "nothing-to-analyze"


class SeveralRuns(UsageError):
    """The directory holds several independent runs."""

    slug = "several-runs"

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        super().__init__(
            f"{len(names)} independent training runs below this directory ({listed}): "
            "analyse them one at a time"
        )


class ReportUnreadable(UsageError):
    """A saved report is not one, or of another schema."""

    slug = "report-unreadable"


class InputChanged(ForensicsError):
    """A file is gone, or is not what it was when the run was read: read the run again."""

    slug = "input-changed"
    exit_code = 3


class IncompleteTable(UserWarning):
    """Values are damaged and missing from a table; its ``attrs["warnings"]`` says which."""


class CannotWrite(ForensicsError):
    """The result was found and could not be handed out, e.g. because the disk is full."""

    slug = "cannot-write"


class ConsentNeeded(ForensicsError):
    """A replay would run code that the caller did not name."""

    slug = "consent-needed"
    exit_code = 5


class Damaged(ForensicsError):
    """A file does not hold what its format promises.

    Parameters
    ----------
    path : str
        The file.
    offset : int
        Byte offset of the first byte that is wrong.
    kind : str
        Stable slug, e.g. ``crc_mismatch``, ``truncated``, ``bad_length``.
    detail : str
        One sentence for people.
    """

    slug = "damaged"
    exit_code = 3

    def __init__(self, path: str, offset: int, kind: str, detail: str) -> None:
        self.path, self.offset, self.kind, self.detail = path, offset, kind, detail
        super().__init__(f"{path}: {detail} (at byte {offset}, {kind})")


class WorkerFailed(ForensicsError):
    """The replay's child process died, hung or answered nonsense."""

    slug = "worker-failed"
