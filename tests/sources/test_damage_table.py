"""The damage table: what befalls event files, what other readers make of it, what ours must.

Of 2,000 rows that TensorBoard's record writer wrote. With each kind of damage: what its own reader
(EventAccumulator, and tbparse, which reads through it) keeps, measured with TensorBoard 2.21.
"""

from __future__ import annotations

import gzip
import os
import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from forensics.detectors.restarted import Restarted
from forensics.domain.findings import Finding
from forensics.domain.run import InputState, Run
from forensics.domain.scene import Scene
from forensics.sources.events.tiers import SWITCH
from forensics.sources.logdir import read
from tests.damage.confined import confined
from tests.sources import event_writer as ew

ROWS = 2000
START = 1_700_000_000.0
HEADER = 12
NAME = "events.out.tfevents.1700000000.host.1.0.v2"

Row = tuple[int, float, float]


@dataclass(frozen=True)
class Log:
    """A file of scalars and where each record of it begins (the version's is the first)."""

    data: bytes
    starts: tuple[int, ...]

    def record(self, row: int) -> tuple[int, int]:
        """Offset and length of a row's record."""
        ends = (*self.starts, len(self.data))
        return self.starts[row + 1], ends[row + 2] - ends[row + 1]


def row(step: int) -> Row:
    return step, START + step, float(np.float32(1.0 / (step + 1)))


def version() -> Event:
    return Event(wall_time=START, file_version="brain.Event:2")


def point(step: int, tag: str = "loss", wall: float = 0.0) -> Event:
    value = scalar_pb(tag, np.float32(1.0 / (step + 1)))
    return Event(step=step, wall_time=START + step + wall, summary=value)


def simple(step: int) -> Event:
    value = Summary.Value(tag="loss", simple_value=1.0 / (step + 1))
    return Event(step=step, wall_time=START + step, summary=Summary(value=[value]))


def write(path: Path, events: Iterable[Event]) -> Log:
    """Write events as TensorBoard does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    starts = []
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for event in events:
            starts.append(file.tell())
            writer.write(event.SerializeToString())
    return Log(path.read_bytes(), tuple(starts))


@pytest.fixture(autouse=True, params=["python", "compiled"])
def tier(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of reading event files owe the same."""
    monkeypatch.setenv(SWITCH, "1" if request.param == "compiled" else "0")


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Log:
    path = tmp_path_factory.mktemp("clean") / NAME
    return write(path, [version(), *map(point, range(ROWS))])


def damaged(folder: Path, data: bytes) -> Run:
    (folder / NAME).write_bytes(data)
    return read(folder)


def rows(run: Run) -> list[Row]:
    """Points of the loss in all series, in the order they were written; steps as logged."""
    return [
        (int(step) + series.shift, float(wall), float(value))
        for series in run.series
        if series.tag == "loss"
        for step, wall, value in zip(series.steps, series.wall_times, series.values, strict=True)
    ]


def without(lost: Iterable[int]) -> list[Row]:
    missing = set(lost)
    return [row(step) for step in range(ROWS) if step not in missing]


def state(run: Run) -> InputState:
    [only] = run.inputs
    return only.state


def patched(log: Log, position: int, content: bytes) -> bytes:
    return log.data[:position] + content + log.data[position + len(content) :]


def flipped(log: Log, position: int) -> bytes:
    return patched(log, position, bytes([log.data[position] ^ 0x10]))


def test_the_clean_file(tmp_path: Path, clean: Log) -> None:
    run = damaged(tmp_path, clean.data)
    assert rows(run) == without(())
    assert (state(run), run.warnings) == (InputState.COMPLETE, ())


@pytest.mark.parametrize("missing", [1, 4, 5, 30, -1])
def test_a_truncated_tail_is_incomplete_and_never_corrupt(
    tmp_path: Path, clean: Log, missing: int
) -> None:
    """EventAccumulator keeps 1,999 too; other strict readers call it corrupt."""
    _, length = clean.record(ROWS - 1)
    run = damaged(tmp_path, clean.data[: len(clean.data) - missing % length])
    assert rows(run) == without([ROWS - 1])
    assert state(run) is InputState.INCOMPLETE_TAIL
    for warning in run.warnings:
        told = f"{warning.kind} {warning.detail}".lower()
        assert not any(word in told for word in ("corrupt", "damage", "crc", "checksum"))


FIELDS = ("value", "wall_time", "tag", "length", "length_crc", "data_crc")


def field_position(log: Log, at: int, field: str) -> int:
    """A byte of a row's field: found by what stands there, not by a layout learnt by heart."""
    start, length = log.record(at)
    record = log.data[start : start + length]
    _, wall, value = row(at)
    known = {
        "value": record.find(struct.pack("<f", value)),
        "wall_time": record.find(struct.pack("<d", wall)) + 5,
        "tag": record.find(b"loss") + 1,
        "length": 0,
        "length_crc": 9,
        "data_crc": length - 2,
    }[field]
    assert 0 <= known < length
    return start + known


@pytest.mark.parametrize("field", FIELDS)
def test_a_flipped_byte_costs_its_record(tmp_path: Path, clean: Log, field: str) -> None:
    """EventAccumulator keeps the 999 rows before it and says nothing."""
    hit = 999
    start, length = clean.record(hit)
    run = damaged(tmp_path, flipped(clean, field_position(clean, hit, field)))
    assert rows(run) == without([hit])
    assert state(run) is InputState.DAMAGED
    [warning] = run.warnings
    assert (warning.path, warning.offset, warning.kind) == (NAME, start, "crc_mismatch")
    assert f"[{start}, {start + length})" in warning.detail


@pytest.mark.parametrize("begin", [40_960, 81_920, 50_001])
def test_a_hole_of_zeros_is_reported_as_a_range(tmp_path: Path, clean: Log, begin: int) -> None:
    """4 KiB that a network file system never wrote: EventAccumulator stops there silently."""
    end = begin + 4096
    spans = [clean.record(at) for at in range(ROWS)]
    lost = [
        at for at, (start, length) in enumerate(spans) if start < end and begin < start + length
    ]
    first, last = spans[lost[0]], spans[lost[-1]]
    run = damaged(tmp_path, patched(clean, begin, bytes(4096)))
    assert rows(run) == without(lost)
    assert state(run) is InputState.DAMAGED
    [warning] = run.warnings
    assert warning.offset == first[0]
    assert f"[{first[0]}, {last[0] + last[1]})" in warning.detail


def test_a_gzipped_file_is_read(tmp_path: Path, clean: Log) -> None:
    """EventAccumulator: 0 rows, silently."""
    run = damaged(tmp_path, gzip.compress(clean.data))
    assert rows(run) == without(())
    assert (state(run), run.warnings) == (InputState.COMPLETE, ())


def test_permuted_steps_are_all_kept(tmp_path: Path) -> None:
    """The Rust data server keeps 10."""
    steps = list(range(ROWS))
    random.Random(3).shuffle(steps)
    write(tmp_path / NAME, [version(), *map(point, steps)])
    run = read(tmp_path)
    assert rows(run) == [row(step) for step in steps]
    assert (state(run), run.warnings) == (InputState.COMPLETE, ())


def test_a_restart_is_a_finding_and_purges_nothing(tmp_path: Path) -> None:
    """The Rust data server drops the 1,000 rows that were written twice."""
    again = (point(step, wall=5000.0) for step in range(ROWS // 2, ROWS + ROWS // 2))
    write(tmp_path / NAME, [version(), *map(point, range(ROWS))])
    write(tmp_path / NAME.replace("1700000000", "1700009000"), [version(), *again])
    run = read(tmp_path)
    assert len(rows(run)) == 2 * ROWS
    assert len({series.writer for series in run.series}) == 1
    [finding] = Restarted().detect(Scene(run))
    assert isinstance(finding, Finding)
    assert (finding.code, finding.onset_step) == ("LOG001", ROWS // 2)


def test_two_writers_of_one_directory_are_told_apart(tmp_path: Path) -> None:
    """The Rust data server keeps 501 of 1,000."""
    for number in (1, 2):
        events = (point(step, wall=number / 8) for step in range(500))
        write(tmp_path / NAME.replace("host.1", f"host.{number}"), [version(), *events])
    run = read(tmp_path)
    assert len(rows(run)) == 1000
    assert len({series.writer for series in run.series}) == 2
    for series in run.series:
        assert series.steps.tolist() == list(range(500))
        assert len(set(np.modf(series.wall_times)[0])) == 1


def test_a_session_start_purges_nothing(tmp_path: Path) -> None:
    """EventAccumulator and the Rust data server drop 500 rows that were written before it."""
    start = Event(step=1000, wall_time=START, session_log=SessionLog(status=SessionLog.START))
    before, after = map(simple, range(1500)), map(simple, range(1000, 1500))
    write(tmp_path / NAME, [version(), *before, start, *after])
    run = read(tmp_path)
    assert rows(run) == [row(step) for step in (*range(1500), *range(1000, 1500))]
    assert state(run) is InputState.COMPLETE


def test_a_tag_that_changes_its_type_keeps_its_numbers(tmp_path: Path) -> None:
    """Ten numbers and ten histograms of one tag, either first: the Rust server keeps none."""
    histogram = Summary.Value(tag="loss")
    histogram.histo.min, histogram.histo.max, histogram.histo.num = 0.0, 1.0, 3.0
    histogram.histo.bucket_limit.extend([0.5, 1.0])
    histogram.histo.bucket.extend([1.0, 2.0])
    others = [Event(step=s, wall_time=START, summary=Summary(value=[histogram])) for s in range(10)]
    for name, events in (
        ("histograms_first", [*others, *map(point, range(10))]),
        ("scalars_first", [*map(point, range(10)), *others]),
    ):
        write(tmp_path / name / NAME, [version(), *events])
        run = read(tmp_path / name)
        assert rows(run) == [row(step) for step in range(10)]
        assert state(run) is InputState.COMPLETE


DTYPES: dict[str, tuple[int, Any, tuple[int, ...]]] = {
    "float32": (1, np.float32(0.5), ()),
    "float64": (2, np.float64(0.1), ()),
    "int32": (3, np.int32(-3), ()),
    "uint8": (4, np.uint8(200), (1,)),
    "int16": (5, np.int16(-300), ()),
    "int8": (6, np.int8(-3), (1, 1)),
    "int64": (9, np.int64(2**53), ()),
    "bool": (10, np.bool_(True), ()),
    "bfloat16": (14, np.frombuffer(b"\xc0\x3f", np.uint8), ()),
    "uint16": (17, np.uint16(65_535), ()),
    "float16": (19, np.float16(1.5), (1,)),
    "uint32": (22, np.uint32(2**32 - 1), ()),
    "uint64": (23, np.uint64(2**52), ()),
    "vector": (1, np.array([1.0, 2.0], np.float32), (2,)),
}


def test_scalars_of_14_dtypes_and_shapes(tmp_path: Path) -> None:
    """EventAccumulator raises TypeError and loses the whole load; the vector is no scalar."""
    events = []
    for name, (dtype, value, sizes) in DTYPES.items():
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in sizes])
        tensor = TensorProto(dtype=dtype, tensor_shape=shape, tensor_content=value.tobytes())
        summary = Summary(value=[Summary.Value(tag=name, tensor=tensor)])
        summary.value[0].metadata.plugin_data.plugin_name = "scalars"
        events.append(Event(step=1, wall_time=START, summary=summary))
    write(tmp_path / NAME, [version(), *events])
    run = read(tmp_path)
    expected = {name: float(value) for name, (_, value, sizes) in DTYPES.items()
                if name not in ("vector", "bfloat16")} | {"bfloat16": 1.5}  # fmt: skip
    assert {series.tag: series.values.tolist() for series in run.series} == {
        name: [value] for name, value in expected.items()
    }
    assert (state(run), run.warnings) == (InputState.COMPLETE, ())


def test_a_length_of_2_to_the_40_is_told_at_its_offset(tmp_path: Path, clean: Log) -> None:
    """155 bytes that kill TensorFlow, EventAccumulator and the Rust data server."""
    length = struct.pack("<Q", 1 << 40)
    lying = length + ew.record(length)[HEADER + 8 : HEADER + 12]
    at = clean.starts[3]
    path = tmp_path / "short" / NAME
    path.parent.mkdir()
    path.write_bytes((clean.data[:at] + lying).ljust(at + 32, b"\0"))
    outcome = confined(_read, path.parent, start=60, memory=256 << 20)
    assert outcome.error == ""
    n_rows, states, warnings = outcome.value
    assert (n_rows, states) == (2, [InputState.DAMAGED])
    assert [(offset, kind) for _, offset, kind in warnings] == [(at, "bad_length")]
    (tmp_path / "inserted").mkdir()
    run = damaged(tmp_path / "inserted", clean.data[:at] + lying + clean.data[at:])
    assert rows(run) == without(())
    assert [(w.offset, w.kind) for w in run.warnings] == [(at, "bad_length")]


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    """EventAccumulator hangs on it."""
    write(tmp_path / NAME, [version(), *map(point, range(10))])
    os.mkfifo(tmp_path / "events.out.tfevents.fifo")
    outcome = confined(_read, tmp_path, start=60)
    assert outcome.error == ""
    n_rows, states, warnings = outcome.value
    assert n_rows == 10
    assert sorted(states) == [InputState.COMPLETE, InputState.DENIED]
    assert warnings == [("events.out.tfevents.fifo", None, "denied")]


def test_an_unreadable_directory_is_one_row(tmp_path: Path) -> None:
    """EventAccumulator and TensorBoard raise for all of the logs."""
    write(tmp_path / "train" / NAME, [version(), *map(point, range(10))])
    (tmp_path / "secret").mkdir(mode=0)
    try:
        outcome = confined(_read_unprivileged, tmp_path)
    finally:
        (tmp_path / "secret").chmod(0o700)
    assert outcome.error == ""
    n_rows, states, warnings = outcome.value
    assert n_rows == 10
    assert sorted(states) == [InputState.COMPLETE, InputState.DENIED]
    assert warnings == [("secret", None, "denied")]


def _read(folder: Path) -> tuple[int, list[InputState], Sequence[tuple[str, int | None, str]]]:
    run = read(folder)
    warnings = [(w.path, w.offset, w.kind) for w in run.warnings]
    return len(rows(run)), [i.state for i in run.inputs], warnings


def _read_unprivileged(folder: Path) -> Any:
    """Read as somebody whom permissions bind; tests may run as root."""
    os.chdir(folder)
    folder.chmod(0o755)
    if os.geteuid() == 0:
        _read(folder)  # everything is imported while this may be done
        os.setgroups([])
        os.setegid(65_534)
        os.seteuid(65_534)
    return _read(Path())
