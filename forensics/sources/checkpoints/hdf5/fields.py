"""Little-endian fields of one structure, read in order and never past its end."""

from __future__ import annotations

from forensics.errors import Damaged
from forensics.sources.checkpoints.hdf5.image import Image
from forensics.sources.checkpoints.hdf5.lookup3 import lookup3


class Fields:
    """Cursor over the bytes of a structure.

    Parameters
    ----------
    image : Image
        The file.
    address : int
        Where `data` lies in it.
    data : memoryview
        Bytes of the structure.
    what : str
        What it is called in errors.
    """

    __slots__ = ("address", "at", "data", "image", "what")

    def __init__(self, image: Image, address: int, data: memoryview, what: str) -> None:
        self.image, self.address, self.data, self.what = image, address, data, what
        self.at = 0

    def __len__(self) -> int:
        return len(self.data) - self.at

    def raw(self, count: int) -> memoryview:
        """Read `count` bytes."""
        end = self.at + count
        if end > len(self.data):
            raise self.damaged("truncated", f"{self.what} ends too early")
        found = self.data[self.at : end]
        self.at = end
        return found

    def integer(self, size: int) -> int:
        """Read an unsigned integer of `size` bytes."""
        end = self.at + size
        if end > len(self.data):
            raise self.damaged("truncated", f"{self.what} ends too early")
        value = int.from_bytes(self.data[self.at : end], "little")
        self.at = end
        return value

    def place(self) -> int | None:
        """Read an address; None where it is undefined."""
        size = self.image.offset_size
        value = self.integer(size)
        return None if value == (1 << 8 * size) - 1 else value

    def defined(self) -> int:
        """Read an address that must be defined."""
        address = self.place()
        if address is None:
            raise self.damaged("bad_address", f"{self.what} needs an address that is undefined")
        return address

    def length(self) -> int:
        """Read a size of the width of the file's lengths."""
        return self.integer(self.image.length_size)

    def expect(self, value: bytes, kind: str = "bad_signature") -> None:
        """Read bytes that must be there: signatures, versions."""
        if bytes(self.raw(len(value))) != value:
            self.at -= len(value)
            raise self.damaged(kind, f"this is no {self.what}")

    def zeros(self, count: int) -> None:
        """Skip reserved bytes, which must be zero."""
        if any(self.raw(count)):
            raise self.damaged("bad_reserved", f"reserved bytes of {self.what} are not zero")

    def padding(self, start: int) -> None:
        """Skip to a multiple of eight bytes from `start`; what lies between must be zero."""
        self.zeros(-(self.at - start) % 8)

    def verify(self) -> None:
        """Compare the checksum that comes next with the bytes before it.

        Raises
        ------
        Damaged
            ``crc_mismatch``: the format calls it a checksum, Jenkins' lookup3.
        """
        computed = lookup3(self.data[: self.at])
        if self.integer(4) != computed:
            self.at = 0
            raise self.damaged("crc_mismatch", f"the checksum of {self.what} does not fit")

    def damaged(self, kind: str, detail: str) -> Damaged:
        """Error at the current place."""
        return self.image.damaged(self.address + self.at, kind, detail)
