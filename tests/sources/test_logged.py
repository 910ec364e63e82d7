"""Values that are no scalars: found again later, whatever became of the file."""

from __future__ import annotations

import gzip
import pickle
import struct
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from forensics.errors import IncompleteTable, InputChanged
from forensics.sources.events import spans
from forensics.sources.logdir import read
from tests.sources import event_writer as ew

DESCRIBED = ew.bytes_field(9, ew.bytes_field(1, ew.bytes_field(1, b"histograms")))


def histogram(tag: str, *edges: float, described: bool = True) -> bytes:
    """A value with one bucket of count 1 between each two edges."""
    rows = [struct.pack("<3d", a, b, 1.0) for a, b in pairwise(edges)]
    content = ew.tensor(2, (len(rows), 3), ew.bytes_field(4, b"".join(rows)))
    metadata = DESCRIBED if described else b""
    return ew.bytes_field(1, tag.encode()) + ew.bytes_field(8, content) + metadata


def old_histogram(tag: str, limits: list[float], counts: list[float]) -> bytes:
    packed = [struct.pack(f"<{len(part)}d", *part) for part in (limits, counts)]
    message = ew.bytes_field(6, packed[0]) + ew.bytes_field(7, packed[1])
    return ew.bytes_field(1, tag.encode()) + ew.bytes_field(5, message)


def records(tag: str, count: int, wall: float = ew.START, first: int = 0) -> bytes:
    return b"".join(
        ew.record(ew.event(first + i, [histogram(tag, i, i + 1.0)], wall + i)) for i in range(count)
    )


def open_files() -> int:
    """Descriptors of this process, where the system lists them."""
    listed = Path("/proc/self/fd")
    return len(list(listed.iterdir())) if listed.exists() else 0


def test_a_run_holds_no_open_file_and_can_be_sent_elsewhere(tmp_path: Path) -> None:
    ew.write(tmp_path, records("w", 3))
    before = open_files()
    run = pickle.loads(pickle.dumps(read(tmp_path)))
    found = run.histograms()
    assert (open_files(), found["step"].tolist()) == (before, [0, 1, 2])
    assert [limits.tolist() for limits in found["limits"]] == [[0, 1], [1, 2], [2, 3]]
    assert not found["limits"][0].flags.writeable


def test_a_file_that_is_gone_or_another_one(tmp_path: Path) -> None:
    path = ew.write(tmp_path, records("w", 3))
    run = read(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(InputChanged, match="it is shorter"):
        run.histograms()
    path.write_bytes(whole[:-40] + bytes(40))
    with pytest.raises(InputChanged, match="holds something else"):
        run.histograms()
    path.unlink()
    with pytest.raises(InputChanged, match="is gone since the run was read"):
        run.histograms()
    path.mkdir()
    with pytest.raises(InputChanged, match="cannot be read any more"):
        run.histograms()


def test_a_file_that_grows(tmp_path: Path) -> None:
    path = ew.write(tmp_path, records("w", 3), ew.scalars("loss", [1.0, 2.0]))
    run = read(tmp_path)
    with path.open("ab") as file:
        file.write(records("w", 2, ew.START + 3, first=3) + ew.scalars("loss", [3.0], first=2))
    assert run.histograms()["step"].tolist() == [0, 1, 2]
    again = read(tmp_path)
    assert again.histograms()["step"].tolist() == [0, 1, 2, 3, 4]
    assert again.scalars()["value"].tolist() == [1.0, 2.0, 3.0]


def test_half_a_record_is_no_value_yet(tmp_path: Path) -> None:
    path = ew.write(tmp_path, records("w", 3)[:-5])
    assert read(tmp_path).histograms()["step"].tolist() == [0, 1]
    path.write_bytes(ew.VERSION + records("w", 3))
    assert read(tmp_path).histograms()["step"].tolist() == [0, 1, 2]


def test_a_packed_file_is_decoded_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = np.random.default_rng(0)
    noise = [ew.record(ew.event(0, [ew.bytes_field(1, source.bytes(90_000))])) for _ in range(9)]
    plain = ew.VERSION + b"".join(
        noise[i] + records("w", 40, ew.START + 40 * i, first=40 * i) for i in range(9)
    )
    (tmp_path / "plain").mkdir()
    (tmp_path / "packed").mkdir()
    name = "events.out.tfevents.1.host"
    (tmp_path / "plain" / name).write_bytes(plain)
    (tmp_path / "packed" / name).write_bytes(
        gzip.compress(plain[:200_000]) + gzip.compress(plain[200_000:])
    )
    monkeypatch.setattr(spans, "_WINDOW", 1 << 12)
    found = read(tmp_path).histograms()
    by_writer = dict(list(found.groupby("writer")))
    for part in by_writer.values():
        assert part["step"].tolist() == list(range(360))
        assert [limits[0] for limits in part["limits"]] == [i % 40 for i in range(360)]


def test_both_formats_under_one_tag_and_scalars_between(tmp_path: Path) -> None:
    values = [
        [ew.v1("w", 7.0)],
        [histogram("w", 0.0, 1.0)],
        [old_histogram("w", [1.0, 2.0], [3.0, 4.0])],
        [ew.v2("w", 8.0)],
    ]
    ew.write(tmp_path, *(ew.record(ew.event(i, made)) for i, made in enumerate(values)))
    run = read(tmp_path)
    assert run.scalars()[["step", "value"]].values.tolist() == [[0, 7], [3, 8]]
    assert run.histograms()[["step", "format"]].values.tolist() == [[1, "tensor"], [2, "proto"]]


def test_a_tag_whose_first_record_was_lost(tmp_path: Path) -> None:
    """Only the first value names the plugin: another file of the run may know it."""
    plain = ew.record(ew.event(1, [histogram("w", 0.0, 1.0, described=False)]))
    ew.write(tmp_path / "a", plain)
    alone = read(tmp_path)
    assert (len(alone.histograms()), len(alone.tensors())) == (0, 1)
    ew.write(tmp_path / "b", records("w", 2))
    both = read(tmp_path)
    assert (len(both.histograms()), len(both.tensors())) == (3, 0)


def test_damaged_values_are_left_out_and_said(tmp_path: Path) -> None:
    odd = ew.bytes_field(1, b"w") + ew.bytes_field(
        8, ew.tensor(2, (2, 2), ew.bytes_field(4, bytes(32)))
    )
    path = ew.write(tmp_path, records("w", 2), *(ew.record(ew.event(5, [odd])) for _ in range(25)))
    run = read(tmp_path)
    with pytest.warns(IncompleteTable, match=r"'w' at step 5 was left out.*\(and 20 more\)"):
        found = run.histograms()
    assert found["step"].tolist() == [0, 1]
    said = found.attrs["warnings"]
    assert len(said) == 21
    assert {w.kind for w in said} == {"bad_histogram"}
    assert path.read_bytes()[said[0].offset :].startswith(ew.tensor(2, (2, 2))[:4])
    assert said[-1].detail == "5 more values were left out"


def test_sessions_of_tensorflow_1(tmp_path: Path) -> None:
    def session(step: int, status: int, *rest: bytes) -> bytes:
        log = ew.bytes_field(7, ew.number_field(1, status) + b"".join(rest))
        return ew.record(ew.double_field(1, ew.START + step) + ew.number_field(2, step) + log)

    before = ew.scalars("loss", [1.0] * 10)
    after = ew.scalars("loss", [2.0] * 10, first=5, wall=ew.START + 20)
    saved = session(9, 3, ew.bytes_field(2, b"/a/model.ckpt"))
    ew.write(tmp_path, session(1, 1), before, saved, session(5, 1), after, session(14, 2))
    run = read(tmp_path)
    assert len(run.scalars()) == 20
    found = run.sessions()[["step", "status", "checkpoint_path"]].values.tolist()
    assert found == [
        [1, "start", ""],
        [9, "checkpoint", "/a/model.ckpt"],
        [5, "start", ""],
        [14, "stop", ""],
    ]


def test_messages(tmp_path: Path) -> None:
    log = ew.bytes_field(6, ew.number_field(1, 40) + ew.bytes_field(2, "schlägt fehl".encode()))
    ew.write(tmp_path, ew.record(ew.double_field(1, 5.0) + log))
    assert read(tmp_path).messages()[["level", "message"]].values.tolist() == [
        ["error", "schlägt fehl"]
    ]


def test_nothing_but_a_version(tmp_path: Path) -> None:
    empty = ew.write(tmp_path)
    empty.rename(tmp_path / "events.out.tfevents.1700000000.host.profile-empty")
    run = read(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for table in (run.scalars(), run.histograms(), run.texts(), run.checkpoints()):
            assert len(table) == 0
    assert run.scalars().columns[:5].tolist() == ["writer", "tag", "step", "wall_time", "value"]
    assert run.warnings == ()


def test_two_writers_of_histograms_in_one_directory(tmp_path: Path) -> None:
    ew.write(tmp_path, records("w", 4), number=1)
    ew.write(tmp_path, records("w", 4, ew.START + 0.5), number=2)
    ew.write(tmp_path, records("w", 4, ew.START + 100, first=2), number=3)
    found = read(tmp_path).histograms()
    steps = {writer: part["step"].tolist() for writer, part in found.groupby("writer")}
    assert steps == {".": [0, 1, 2, 3, 2, 3, 4, 5], ".#2": [0, 1, 2, 3]}


def test_one_event_file_alone(tmp_path: Path) -> None:
    path = ew.write(tmp_path, records("w", 2), ew.scalars("loss", [1.0]))
    run = read(path)
    assert (len(run.scalars()), len(run.histograms())) == (1, 2)


def test_a_run_in_a_bucket() -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    bucket = MemoryFileSystem()
    name = "/logged/run/events.out.tfevents.1.host"
    content = ew.VERSION + records("w", 3)
    bucket.pipe(name, content)
    run = read("memory://logged/run")
    assert run.histograms()["step"].tolist() == [0, 1, 2]
    bucket.pipe(name, content + records("w", 1))
    with pytest.raises(InputChanged, match="is not what it was"):
        run.histograms()
    bucket.rm("/logged", recursive=True)
    with pytest.raises(InputChanged, match="is gone"):
        run.histograms()


def test_a_writer_that_goes_on_writing(tmp_path: Path) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(tmp_path))
    for step in range(4):
        weights = HistogramProto(num=step + 2, bucket_limit=[1.0, 2.0], bucket=[step, 2.0])
        values = [
            Summary.Value(tag="loss", simple_value=step / 2),
            Summary.Value(tag="w", histo=weights),
        ]
        writer.add_event(Event(step=step, wall_time=9.0, summary=Summary(value=values)))
        writer.flush()
        run = read(tmp_path)
        assert run.warnings == ()
        assert run.scalars()["value"].tolist() == [0.0, 0.5, 1.0, 1.5][: step + 1]
        assert run.histograms()["num"].tolist() == [2.0, 3.0, 4.0, 5.0][: step + 1]
    writer.close()


def test_a_histogram_without_a_byte(tmp_path: Path) -> None:
    ew.write(tmp_path, ew.record(ew.event(3, [ew.bytes_field(1, b"w") + ew.bytes_field(5, b"")])))
    [found] = read(tmp_path).histograms().to_dict("records")
    assert (found["num"], found["min"], len(found["limits"])) == (0.0, 0.0, 0)
