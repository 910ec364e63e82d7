"""A file in a bucket: read by range, identified by what its server calls its content."""

from __future__ import annotations

from forensics.domain.run import InputFile, InputState
from forensics.sources.storage.blob import Blob
from forensics.sources.storage.read_ahead import ReadAhead
from forensics.sources.storage.remote_errors import as_os_error


class RemoteFile(Blob):
    """Content of a remote file.

    Parameters
    ----------
    name : str
        What it is called in errors and records.
    size : int
        Bytes, as listed.
    etag : str or None
        What its server calls this content.
    blocks : ReadAhead
        Fetches it.
    """

    def __init__(self, name: str, size: int, etag: str | None, blocks: ReadAhead) -> None:
        super().__init__(name, size)
        self._etag, self._blocks = etag, blocks
        self._hashes = etag is None

    def close(self) -> None:
        """Give up what is under way."""
        self._blocks.close()

    @property
    def changed(self) -> bool:
        """No: the file itself does not tell, see `Place.changed`."""
        return False

    def identified(self, kind: str, state: InputState) -> InputFile:
        """Record of this file as an input.

        Where the server has no name for its content, it is hashed if it was read as a whole, and
        else nothing identifies it: reading it once more only to hash it would cost too much.
        """
        seen = self._digest is not None or self._whole is not None
        digest = self.sha256() if self._etag is None and seen else None
        return InputFile(self.name, kind, self.size, digest, state, self._etag)

    def _range(self, offset: int, count: int) -> bytes:
        try:
            return self._blocks.read(offset, count)
        except Exception as error:
            # every protocol has errors of its own, and they are no classes in common
            raise as_os_error(error) from None
