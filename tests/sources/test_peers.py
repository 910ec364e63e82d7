"""Every table against TensorBoard's accumulator and tbparse, on what real writers wrote."""

from __future__ import annotations

import io
import wave
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forensics.domain.run import Run
from forensics.sources.logdir import read
from tests.sources.written import SETS, SLOW

pytestmark = pytest.mark.tf


class Written(dict[str, Path]):
    """Folders of the sets, each written when it is first asked for."""

    def __init__(self, parent: Path) -> None:
        super().__init__()
        self._parent = parent

    def __missing__(self, name: str) -> Path:
        self[name] = self._parent / name
        {**SETS, **SLOW}[name](self[name])
        return self[name]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return Written(tmp_path_factory.mktemp("sets"))


NAMES = [*sorted(SETS), *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


Row = tuple[Any, ...]


def by_tensorboard(folder: Path) -> dict[str, Counter[Row]]:
    """Values of every event file, nothing thinned out or purged, by kind."""
    from tensorboard.backend.event_processing import event_accumulator as ea

    found: dict[str, Counter[Row]] = {}
    everything = dict.fromkeys(ea.DEFAULT_SIZE_GUIDANCE, 0)
    for path in sorted(folder.rglob("*tfevents*")):
        oracle = ea.EventAccumulator(str(path), everything, purge_orphaned_data=False)
        oracle.Reload()
        where = path.parent.relative_to(folder).as_posix()
        for kind, row in rows_of(oracle):
            found.setdefault(kind, Counter())[where, *row] += 1
    return found


def rows_of(oracle: Any) -> Iterator[tuple[str, Row]]:
    tags = oracle.Tags()
    for tag in tags["scalars"]:
        for e in oracle.Scalars(tag):
            yield "scalar", (tag, e.step, e.wall_time, exact(np.float64(e.value)))
    for tag in tags["histograms"]:
        for e in oracle.Histograms(tag):
            h = e.histogram_value
            five = np.array([h.min, h.max, h.num, h.sum, h.sum_squares])
            parts = (exact(np.array(part, float)) for part in (h.bucket_limit, h.bucket))
            yield "histogram", (tag, e.step, e.wall_time, *parts, exact(five))
    for tag in tags["images"]:
        for e in oracle.Images(tag):
            size = (e.width, e.height)
            yield "image", (tag, e.step, e.wall_time, *size, (e.encoded_image_string,))
    for tag in tags["audio"]:
        for e in oracle.Audio(tag):
            assert e.content_type == "audio/wav"
            more = (e.sample_rate, e.length_frames, (e.encoded_audio_string,))
            yield "audio", (tag, e.step, e.wall_time, *more)
    for tag in tags["tensors"]:
        metadata = oracle.summary_metadata.get(tag)
        plugin = metadata.plugin_data.plugin_name if metadata is not None else ""
        for e in oracle.Tensors(tag):
            yield tensor_row(plugin, tag, e)


def tensor_row(plugin: str, tag: str, e: Any) -> tuple[str, Row]:
    from tensorflow import make_ndarray
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    array: Any = make_ndarray(TensorProto.FromString(e.tensor_proto.SerializeToString()))
    where = (tag, e.step, e.wall_time)
    if plugin == "histograms":
        return "buckets", (*where, exact(array))
    if plugin == "text":
        return "text", (*where, array.reshape(-1)[0].decode())
    if plugin == "images":
        size = (int(array[0]), int(array[1]))
        return "image", (*where, *size, tuple(array[2:].tolist()))
    if plugin == "audio":
        sounds = array[:, 0].tolist()
        with wave.open(io.BytesIO(sounds[0])) as sound:
            more = (float(sound.getframerate()), sound.getnframes())
        return "audio", (*where, *more, tuple(sounds))
    if plugin.startswith("graph_"):
        return "graph", (*where, plugin, array.reshape(-1)[0])
    if plugin == "hparams":
        return "hparams", where
    if array.size == 1 and array.dtype.kind in "fiubV":
        return "scalar", (*where, exact(np.float64(array.reshape(()))))
    return "tensor", (*where, plugin, str(array.dtype), array.shape, exact(array))


def _plain(value: Any) -> Any:
    """tbparse shows a value that is null as its number in protobuf."""
    return 0 if value is None else value


def exact(array: Any) -> bytes:
    plain = np.asarray(array)
    return repr(plain.tolist()).encode() if plain.dtype == object else plain.tobytes()


def by_us(run: Run) -> dict[str, Counter[Row]]:
    found: dict[str, Counter[Row]] = {}
    for kind, row in our_rows(run):
        found.setdefault(kind, Counter())[row] += 1
    return found


def our_rows(run: Run) -> Iterator[tuple[str, Row]]:
    """Values of our tables; their cells are of type Any."""
    tables: Any = run
    for r in tables.scalars().itertuples():
        yield "scalar", (r.writer, r.tag, r.step, r.wall_time, exact(np.float64(r.value)))
    for r in tables.histograms().itertuples():
        where = (r.writer, r.tag, r.step, r.wall_time)
        if r.format == "proto":
            five = np.array([r.min, r.max, r.num, r.sum, r.sum_squares])
            yield "histogram", (*where, exact(r.limits), exact(r.counts), exact(five))
        else:
            assert len(r.counts) == 0 or r.counts[0] == 0
            buckets = np.stack([r.limits[:-1], r.limits[1:], r.counts[1:]], axis=1)
            yield "buckets", (*where, exact(buckets))
    for r in tables.hparams().itertuples():
        yield "hparams", (r.writer, r.name, _plain(r.value))
    for r in tables.texts().itertuples():
        yield "text", (r.writer, r.tag, r.step, r.wall_time, r.text)
    keys = ["writer", "tag", "step", "wall_time"]
    for where, rows in tables.images().groupby(keys, sort=False):
        first = rows.iloc[0]
        size = (int(first["width"]), int(first["height"]))
        assert rows["index"].tolist() == list(range(len(rows)))
        yield "image", (*where, *size, tuple(rows["encoded"]))
    for where, rows in tables.audio().groupby(keys, sort=False):
        first = rows.iloc[0]
        assert first["content_type"] == "audio/wav"
        more = (float(first["sample_rate"]), int(first["length_frames"]))
        yield "audio", (*where, *more, tuple(rows["encoded"]))
    for r in tables.graphs().itertuples():
        if r.kind.startswith("graph_"):
            yield "graph", (r.writer, r.tag, r.step, r.wall_time, r.kind, r.data)
    for r in tables.tensors().itertuples():
        described = (r.plugin, str(r.value.dtype), r.value.shape, exact(r.value))
        yield "tensor", (r.writer, r.tag, r.step, r.wall_time, *described)


@pytest.mark.parametrize("name", NAMES)
def test_as_tensorboard_reads_it(written: Written, name: str) -> None:
    run = read(written[name])
    assert run.warnings == ()
    ours, theirs = by_us(run), by_tensorboard(written[name])
    for kind in set(ours) | set(theirs) - {"hparams"}:
        if kind != "hparams":
            assert ours[kind] == theirs[kind], kind


PURGED = "tensorflow_1"
"""The set whose steps go back at a START: TensorBoard, and so tbparse, throws away what was before.
"""
UNREADABLE = "bfloat16"
"""The set on which tbparse raises a TypeError."""
WITHOUT_TENSORS = "pytorch"
"""The set of whose tensors tbparse raises an AttributeError."""


@pytest.mark.parametrize("name", [name for name in NAMES if name != UNREADABLE])
@pytest.mark.filterwarnings("ignore")
def test_as_tbparse_reads_it(written: Written, name: str) -> None:
    ours = by_us(read(written[name]))
    theirs = by_tbparse(written[name], tensors=name != WITHOUT_TENSORS)
    complete = name not in (PURGED, WITHOUT_TENSORS)
    for kind in ("scalar", "histogram", "text", "hparams"):
        rows, expected = ours.get(kind, Counter()), theirs.get(kind, Counter())
        if kind == "text":
            # tbparse takes off what PyTorch and tensorboardX add to a tag.
            plain = [(w, tag.removesuffix("/text_summary"), *rest) for w, tag, *rest in rows]
            rows = Counter(dict(zip(plain, rows.values(), strict=True)))
        assert expected <= rows, kind
        assert rows == expected or not complete, kind
    assert name != PURGED or theirs["scalar"].total() == 9 < ours["scalar"].total() == 12


def by_tbparse(folder: Path, *, tensors: bool) -> dict[str, Counter[Row]]:
    from tbparse import SummaryReader  # type: ignore[import-untyped]

    kinds = {"scalars", "histograms", "text", "hparams"} | ({"tensors"} if tensors else set())
    columns = {"dir_name", "wall_time", "min", "max", "num", "sum", "sum_squares"}
    peer = SummaryReader(str(folder), event_types=kinds, extra_columns=columns)
    found: dict[str, Counter[Row]] = {}
    for kind, row in tbparse_rows(peer, tensors=tensors):
        found.setdefault(kind, Counter())[row] += 1
    return found


def tbparse_rows(peer: Any, *, tensors: bool) -> Iterator[tuple[str, Row]]:
    for r in peer.scalars.itertuples():
        yield "scalar", (r.dir_name or ".", r.tag, r.step, r.wall_time, exact(np.float64(r.value)))
    for r in peer.tensors.itertuples() if tensors else ():
        value = np.asarray(r.value)
        if value.size == 1 and value.dtype.kind in "fiubV":
            number = np.float64(value.reshape(()))
            yield "scalar", (r.dir_name or ".", r.tag, r.step, r.wall_time, exact(number))
    for r in peer.histograms.itertuples():
        where = (r.dir_name or ".", r.tag, r.step, r.wall_time)
        five = np.array([r.min, r.max, r.num, r.sum, r.sum_squares])
        yield "histogram", (*where, exact(r.limits), exact(r.counts), exact(five))
    for r in peer.text.itertuples():
        yield "text", (r.dir_name or ".", r.tag, r.step, r.wall_time, r.value)
    for r in peer.hparams.itertuples():
        yield "hparams", (r.dir_name or ".", r.tag, r.value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_weights_that_became_nan_are_seen_in_their_histograms(written: Written) -> None:
    """TensorFlow 2 writes edges that are NaN and counts of 0; nothing is raised."""
    table: Any = read(written["keras"]).histograms()
    found = {
        (r.writer, r.step): r for r in table.itertuples() if r.tag.endswith("kernel/histogram")
    }
    assert len(found) == 4
    for epoch in (0, 1):
        sound, poisoned = found["sound/train", epoch], found["poisoned/train", epoch]
        assert (sound.num, np.isfinite(sound.limits).all()) == (3, True)
        assert (poisoned.num, np.isnan(poisoned.limits).all()) == (0, True)
