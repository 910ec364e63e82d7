"""Zip archives beside Python's zipfile, damaged, and made so that two readers would disagree."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.errors import Damaged
from forensics.sources.checkpoints.zip_directory import Directory, leading_members, read_directory
from forensics.sources.checkpoints.zip_member import member_bytes, open_member
from forensics.sources.storage.local_file import LocalFile
from tests.damage.mutations import mutated

CONTENT = {"config.json": b'{"a": 1}' * 20, "b": b"", "größe/c": random.Random(1).randbytes(3000)}


def packed(method: int = zipfile.ZIP_STORED, content: dict[str, bytes] = CONTENT) -> bytes:
    image = io.BytesIO()
    with zipfile.ZipFile(image, "w", method) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return image.getvalue()


class Unseekable(io.RawIOBase):
    """A stream: writers put sizes after the content, in a descriptor."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


def streamed(method: int) -> bytes:
    stream = Unseekable()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in CONTENT.items():
            archive.writestr(name, data)
    return bytes(stream.data)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[bytes], LocalFile]:
    def open_(data: bytes) -> LocalFile:
        (tmp_path / "a.zip").write_bytes(data)
        return LocalFile(tmp_path / "a.zip", "a.zip")

    return open_


def contents(blob: LocalFile) -> tuple[dict[str, bytes], Directory]:
    directory = read_directory(blob)
    return {n: member_bytes(blob, m, 1 << 20) for n, m in directory.members.items()}, directory


Opener = Callable[[bytes], LocalFile]


@pytest.mark.parametrize("make", [packed, streamed])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members(opened: Opener, make: Callable[[int], bytes], method: int) -> None:
    with opened(make(method)) as blob:
        found, directory = contents(blob)
    assert found == CONTENT
    assert directory.failures == ()


def test_zip64_and_comments(opened: Opener) -> None:
    image = io.BytesIO()
    with zipfile.ZipFile(image, "w") as archive:
        archive.comment = b"PK\5\6 is no end here"
        for name, data in CONTENT.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    with opened(image.getvalue()) as blob:
        assert contents(blob)[0] == CONTENT


def test_a_directory_of_zip64(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 100)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    data = packed()
    assert b"PK\6\6" in data
    with opened(data) as blob:
        assert contents(blob)[0] == CONTENT


def test_bytes_in_front(opened: Opener) -> None:
    with opened(b"#!/bin/sh\n" + packed()) as blob:
        found, directory = contents(blob)
    assert found == CONTENT
    assert [failure.kind for failure in directory.failures] == ["unaccounted_bytes"]


def kind_of(opened: Opener, data: bytes) -> str:
    with opened(data) as blob:
        try:
            contents(blob)
        except Damaged as error:
            assert 0 <= error.offset <= len(data)
            return error.kind
    return ""


def changed(data: bytes, place: int, form: str, *values: int) -> bytes:
    copy = bytearray(data)
    struct.pack_into(form, copy, place, *values)
    return bytes(copy)


def test_headers_that_disagree(opened: Opener) -> None:
    data = packed()
    local, central = data.index(b"PK\3\4"), data.index(b"PK\1\2")
    for place in (local + 14, local + 18, local + 22, local + 8, local + 30):
        assert kind_of(opened, changed(data, place, "<B", data[place] ^ 1)) == "bad_archive"
    # The directory alone: its name, its sizes, its checksum, both checksums.
    assert kind_of(opened, changed(data, central + 46, "<B", 65)) == "bad_archive"
    assert kind_of(opened, changed(data, central + 20, "<2I", 8, 8)) == "bad_archive"
    both = changed(changed(data, local + 14, "<I", 7), central + 16, "<I", 7)
    assert kind_of(opened, both) == "crc_mismatch"


def test_members_on_top_of_each_other(opened: Opener) -> None:
    data = packed(content={"a": b"x" * 100, "b": packed(content={"a": b"y"})[:32]})
    # The second entry of the directory leads to the first member, under the first one's name.
    entry = data.index(b"PK\1\2", data.index(b"PK\1\2") + 1)
    assert kind_of(opened, changed(data, entry + 42, "<I", 0)) in ("bad_archive", "claimed_twice")


def test_encrypted_members_and_other_methods(opened: Opener) -> None:
    data = packed()
    local, central = data.index(b"PK\3\4"), data.index(b"PK\1\2")
    secret = changed(changed(data, local + 6, "<H", 1), central + 8, "<H", 1)
    assert kind_of(opened, secret) == "unsupported"
    assert kind_of(opened, packed(zipfile.ZIP_LZMA)) == "unsupported"


def test_lengths_that_lie(opened: Opener) -> None:
    bomb = packed(zipfile.ZIP_DEFLATED, {"a": bytes(1 << 20)})
    local, central = bomb.index(b"PK\3\4"), bomb.index(b"PK\1\2")

    def sized(size: int) -> bytes:
        return changed(changed(bomb, local + 22, "<I", size), central + 24, "<I", size)

    assert kind_of(opened, sized(100)) == "bad_length"
    assert kind_of(opened, sized((1 << 20) + 1)) == "limit"
    with opened(bomb) as blob:
        member = read_directory(blob).members["a"]
        with pytest.raises(Damaged, match="takes more than"):
            open_member(blob, member, 1 << 19)


def test_no_archive(opened: Opener) -> None:
    assert kind_of(opened, b"") == "bad_archive"
    assert kind_of(opened, bytes(5000)) == "bad_archive"
    assert kind_of(opened, packed() + b"x") == "bad_archive"


def test_the_beginning_of_an_archive(opened: Opener) -> None:
    data = packed()
    with opened(data[: data.index(b"PK\1\2") - 1]) as blob:
        members = leading_members(blob)
        assert list(members) == ["config.json", "b"]
        assert member_bytes(blob, members["config.json"], 1000) == CONTENT["config.json"]


@given(
    content=st.dictionaries(
        st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=8),
        st.binary(max_size=50), max_size=5,
    ),
    deflated=st.booleans(),
)  # fmt: skip
def test_any_members(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes], deflated: bool
) -> None:
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    path.write_bytes(packed(zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED, content))
    with LocalFile(path, "a.zip") as blob, zipfile.ZipFile(path) as archive:
        assert contents(blob)[0] == {i.filename: archive.read(i) for i in archive.infolist()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_mutants(opened: Opener, method: int) -> None:
    data = packed(method)
    for index in range(500):
        copy, what = mutated(data, f"zip:{index}")
        with opened(copy) as blob:
            try:
                found, directory = contents(blob)
            except Damaged as error:
                assert 0 <= error.offset <= len(copy)
                continue
        assert set(found.values()) <= set(CONTENT.values()), what
        if not directory.failures:
            assert list(found.values()) == list(CONTENT.values()), what
