"""A debug dump grows without end: what is not looked at is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from forensics.sources import debug_dump
from forensics.sources.debug_dump import DebugDump, dumps_among, read_debug_dump
from forensics.sources.storage.place import Directory
from tests.damage.repairs import record, records

DATA = Path(__file__).resolve().parents[1] / "data" / "damage" / "tfdbg2"


def long_dump(root: Path, times: int) -> DebugDump:
    for path in DATA.iterdir():
        found = records(path.read_bytes())
        repeated = times if path.name.endswith("traces") else 1
        (root / path.name).write_bytes(b"".join(map(record, [found[0], *found[1:] * repeated])))
    ((name, files),) = dumps_among(sorted(p.name for p in root.iterdir())).items()
    return read_debug_dump(Directory(root), name, files)


def test_a_cap_on_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = long_dump(tmp_path, 10)
    assert whole.complete
    monkeypatch.setattr(debug_dump, "MAX_RECORDS", 9)
    dump = long_dump(tmp_path, 10)
    assert not dump.complete
    assert dump.values == whole.values[: len(dump.values)]
    assert 0 < len(dump.values) < len(whole.values)
    (warning,) = [w for w in dump.warnings if w.path.endswith("traces")]
    assert warning.kind == "limit"
    assert warning.detail == "12 records were not looked at, after 9 of this file"


def test_a_cap_on_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug_dump, "MAX_SECONDS", -1.0)
    dump = long_dump(tmp_path, 1000)
    assert not dump.complete
    (warning,) = dump.warnings
    assert warning.kind == "limit"
    assert warning.detail.startswith("1002 records were not looked at, after 999 of this file and")
