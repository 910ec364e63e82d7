"""A small sound example of every format that is read, and the ways in which each is damaged.

A new format joins the contract by a line in `specimens`.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from safetensors.numpy import save

from forensics.domain.logged import LoggedKind
from forensics.domain.run import InputState, ReadWarning, Run
from forensics.recorder.files import as_bytes
from forensics.sources.debug_dump import dumps_among, read_debug_dump
from forensics.sources.events.tiers import SWITCH
from forensics.sources.logdir import read
from forensics.sources.storage.place import Directory
from tests.damage import repairs
from tests.damage.mutations import mutated
from tests.sources import event_writer as ew

DATA = Path(__file__).resolve().parents[1] / "data"
EVENTS = "events.out.tfevents.1700000001.host.1.0.v2"
NEIGHBOUR = "events.out.tfevents.1700000000.host.1.0.v2"
"""A sound file beside the damaged one; its tag is ``neighbour``."""

Files = Mapping[str, bytes]
Damage = Callable[[Files, str], tuple[Files, str]]
"""From the files of a specimen and a seed to those that differ, and what was done."""


@dataclass(frozen=True)
class Observation:
    """What a reader made of some files.

    Parameters
    ----------
    values : Counter
        Everything it takes for read: points, statistics of tensors, ops.
    warnings : list of ReadWarning
    complete : bool
        Whether it called every file complete.
    steps : mapping
        Step and where it comes from, by checkpoint: damage may leave it to a second source.
    """

    values: Counter[Hashable]
    warnings: list[ReadWarning] = field(default_factory=list)
    complete: bool = True
    steps: Mapping[str, tuple[object, int | None]] = field(default_factory=dict)

    @property
    def complains(self) -> bool:
        return bool(self.warnings) or not self.complete


@dataclass(frozen=True)
class Specimen:
    """One format.

    Parameters
    ----------
    name : str
    files : mapping
        Content by path relative to the log directory.
    damages : mapping
        By name; that called ``raw`` repairs no checksum.
    checked : bool
        Whether checksums cover every value, so that no wrong one may be returned.
    appended : bool
        Whether it grows record by record, so that a cut between two cannot be told.
    sniffed : bool
        Whether it is known by its first bytes, so that an empty one is nothing to be read.
    packed : bool
        Whether offsets in warnings are those of what the file unpacks to.
    observe : callable
        Reads the log directory; may raise nothing at all.
    """

    name: str
    files: Files
    damages: Mapping[str, Damage]
    checked: bool = True
    appended: bool = False
    sniffed: bool = False
    packed: bool = False
    observe: Callable[[Path], Observation] = field(default_factory=lambda: observe)


def observe(root: Path) -> Observation:
    """What `forensics.read` finds."""
    run = read(root)
    values: Counter[Hashable] = Counter()
    _add_points(run, values)
    lost = _add_logged(run, values)
    for checkpoint in run.checkpoint_stats:
        for t in checkpoint.tensors:
            numbers = (t.count, t.nan, t.pos_inf, t.neg_inf, t.zero)
            measures = tuple(map(_bits, (t.min, t.max, t.mean, t.std, t.l2_norm)))
            values[checkpoint.path, t.name, t.shape, t.dtype, numbers, measures] += 1
    complete = all(i.state is InputState.COMPLETE for i in run.inputs)
    steps = {c.path: (c.step_source, c.step) for c in run.checkpoint_stats}
    return Observation(values, [*run.warnings, *lost], complete, steps)


def observe_by_both(root: Path) -> Observation:
    """What is found in pure Python and by kernels, which must be the same to the byte."""
    found = []
    for switch in ("0", "1"):
        with mock.patch.dict(os.environ, {SWITCH: switch}):
            found.append(observe(root))
    assert found[0] == found[1], "the two tiers differ"
    return found[1]


def _add_points(run: Run, values: Counter[Hashable]) -> None:
    for series in run.series:
        rows = zip(series.steps, series.values, series.wall_times, strict=True)
        for step, value, wall in rows:
            point = (int(step) + series.shift, _bits(float(value)), _bits(float(wall)))
            values[series.writer, series.tag, point] += 1


def _add_logged(run: Run, values: Counter[Hashable]) -> list[ReadWarning]:
    """Add what is no scalar, decoded; returns what was lost."""
    lost: list[ReadWarning] = []
    for kind in LoggedKind if run.logged else ():
        tags, warnings = run.logged.read(kind) if run.logged else ((), ())
        lost += warnings
        for tag in tags:
            for row, (step, wall) in enumerate(zip(tag.steps, tag.wall_times, strict=True)):
                cells = tuple((name, repr(column[row])) for name, column in tag.columns.items())
                values[kind, tag.writer, tag.tag, int(step), _bits(float(wall)), cells] += 1
    return lost


def observe_dump(root: Path) -> Observation:
    """What the reader of debug dumps finds."""
    place = Directory(root)
    tree = place.survey()
    values: Counter[Hashable] = Counter()
    warnings: list[ReadWarning] = list(tree.warnings)
    complete = True
    for name, files in dumps_among(tree.files).items():
        dump = read_debug_dump(place, name, files)
        values.update(("op", op) for op in dump.ops)
        values.update(("value", value) for value in dump.values)
        values.update(("call", call) for call in dump.calls)
        values.update(("graph", *item) for item in dump.graphs.items())
        warnings += dump.warnings
        complete = complete and all(i.state is InputState.COMPLETE for i in dump.inputs)
    return Observation(values, warnings, complete)


def _bits(value: float) -> bytes:
    """Bits of a number: NaN is equal to itself, and 0 is not -0."""
    return struct.pack("<d", value)


def raw(files: Files, seed: str, *, among: tuple[str, ...]) -> tuple[Files, str]:
    """One of the files `among` is damaged."""
    name = random.Random(seed).choice(among)
    content, done = mutated(files[name], seed)
    return {name: content}, f"{name}: {done}"


def repaired(
    files: Files, seed: str, *, among: tuple[str, ...], repair: repairs.Repair
) -> tuple[Files, str]:
    """One of the files `among` is damaged below checksums that are right."""
    name = random.Random(seed).choice(among)
    content, done = repair(files[name], seed)
    return {name: content}, f"{name}: {done}"


def tensor_repaired(files: Files, seed: str, *, index: str, data: str) -> tuple[Files, str]:
    """A tensor of a bundle is damaged, the index agrees with it."""
    changed, content, done = repairs.mutated_tensor(files[index], files[data], seed)
    return {index: changed, data: content}, done


def _specimen(
    name: str,
    files: Files,
    among: tuple[str, ...],
    *,
    checked: bool = True,
    observe: Callable[[Path], Observation] = observe,
    below: Mapping[str, repairs.Repair] | None = None,
) -> Specimen:
    damages: dict[str, Damage] = {"raw": partial(raw, among=among)}
    for kind, repair in (below or {}).items():
        damages[kind] = partial(repaired, among=among, repair=repair)
    whole = {NEIGHBOUR: neighbour(), **files}
    return Specimen(name, whole, damages, checked, observe=observe)


_RECORDS = {"records": repairs.mutated_record}
_PACKED = {"stream": repairs.mutated_gzip, "records": repairs.mutated_gzip_record}
_TABLE = {"table": repairs.mutated_table}
_MEMBER = {"member": repairs.mutated_member}


@cache
def specimens() -> dict[str, Specimen]:
    """All formats by name."""
    packed = gzip.compress(events(60), mtime=0)
    plain = replace(
        _specimen("events", {EVENTS: events(400)}, (EVENTS,), below=_RECORDS), appended=True
    )
    found = [
        plain,
        replace(plain, name="events_compiled", observe=observe_by_both),
        replace(
            _specimen("events_gzip", {EVENTS: packed}, (EVENTS,), below=_PACKED), packed=True
        ),
        *_bundles(),
        *_keras(),
        *_safetensors(),
        *_orbax(),
        *_saved_models(),
        _dump(),
        *_logs(),
    ]  # fmt: skip
    return {specimen.name: specimen for specimen in found}


def events(steps: int) -> bytes:
    """Scalars in both layouts, histograms, a blob that holds records of its own, oddities."""
    source = random.Random(7)
    inner = b"".join(ew.record(source.randbytes(50)) for _ in range(4))
    image = ew.number_field(1, 4) + ew.number_field(2, 6) + ew.bytes_field(4, inner)
    odd = ew.event(0, [ew.bytes_field(1, b"image") + ew.bytes_field(4, image), *_described()])
    session = ew.bytes_field(7, ew.number_field(1, 1) + ew.bytes_field(2, b"/a/model.ckpt"))
    found = [ew.VERSION, ew.record(odd), ew.record(ew.double_field(1, ew.START) + session)]
    for step in range(steps):
        value = source.gauss(0, 1)
        old_way = [ew.v1("loss", value), ew.v1("lr", 0.1)]
        made = [ew.v2("loss", value)] if step % 3 else old_way
        if step % 20 == 0:
            wide = ew.tensor(2, (1,), ew.double_field(6, value))
            bars = ew.tensor(2, (4, 3), ew.bytes_field(4, source.randbytes(96)))
            made.append(ew.bytes_field(1, b"wide") + ew.bytes_field(8, wide))
            made.append(ew.bytes_field(1, b"bars") + ew.bytes_field(8, bars))
            limits = struct.pack("<3d", -1.0, 0.0, 1.7976931348623157e308)
            counts = struct.pack("<3d", 1.0, 2.0, 3.0)
            old = ew.bytes_field(6, limits) + ew.bytes_field(7, counts)
            made.append(ew.bytes_field(1, b"old") + ew.bytes_field(5, old))
        found.append(ew.record(ew.event(step, made)))
    return b"".join(found)


def _described() -> list[bytes]:
    """Values that their metadata tells apart: a text, a sound, images, hyperparameters."""

    def value(tag: bytes, plugin: bytes, *strings: bytes, content: bytes = b"") -> bytes:
        named = ew.bytes_field(1, plugin) + ew.bytes_field(2, content)
        stored = b"".join(ew.bytes_field(8, text) for text in strings)
        tensor = ew.bytes_field(8, ew.tensor(7, (len(strings),), stored)) if strings else b""
        return ew.bytes_field(1, tag) + tensor + ew.bytes_field(9, ew.bytes_field(1, named))

    rate = ew.bytes_field(1, b"lr") + ew.bytes_field(2, ew.double_field(2, 0.1))
    return [
        value(b"note", b"text", b"**said**"),
        value(b"sound", b"audio", b"RIFF\x24\0\0\0WAVEfmt ", b"OggS"),
        value(b"images", b"images", b"6", b"4", b"png", b"jpeg"),
        value(b"start", b"hparams", content=ew.bytes_field(3, ew.bytes_field(1, rate))),
    ]


def neighbour() -> bytes:
    return ew.VERSION + ew.scalars("neighbour", [1.0, 0.5, float("nan")], wall=ew.START - 900)


def _bundles() -> list[Specimen]:
    found = []
    for folder in ("adam", "partitioned"):
        root = DATA / "checkpoints" / folder
        files = {path.name: path.read_bytes() for path in sorted(root.iterdir())}
        index = next(name for name in files if name.endswith(".index"))
        data = next(name for name in files if ".data-" in name)
        found.append(_specimen(f"index_{folder}", files, (index,), below=_TABLE))
        specimen = _specimen(f"data_{folder}", files, (data,))
        tensor: Damage = partial(tensor_repaired, index=index, data=data)
        found.append(replace(specimen, damages={**specimen.damages, "tensor": tensor}))
    return found


def _keras() -> list[Specimen]:
    def content(*names: str) -> dict[str, bytes]:
        return {name: (DATA / "damage" / name).read_bytes() for name in names}

    shards = ("sharded.weights.json", "sharded_00000.weights.h5", "sharded_00001.weights.h5")
    return [
        _specimen("keras_archive", content("model.keras"), ("model.keras",), below=_MEMBER),
        _specimen("weights_h5", content("model.weights.h5"), ("model.weights.h5",), checked=False),
        _specimen("legacy_h5", content("legacy.h5"), ("legacy.h5",), checked=False),
        _specimen("sharded_weights", content(*shards), shards, checked=False),
        _recorded_state(),
    ]


def _safetensors() -> list[Specimen]:
    source = np.random.default_rng(11)
    arrays = {f"layer.{i}.weight": source.normal(size=(4, i)).astype("f4") for i in range(6)}
    whole = save({**arrays, "n": np.array(3)}, {"format": "np", "global_step": "12"})
    parts = {
        f"m-0000{i}-of-00002.safetensors": {
            k: v for k, v in arrays.items() if int(k[6]) % 2 == i % 2
        }
        for i in (1, 2)
    }
    where = {tensor: file for file, part in parts.items() for tensor in part}
    files = {file: save(part) for file, part in parts.items()}
    files["m.safetensors.index.json"] = json.dumps({"weight_map": where}).encode()
    one = {"m.safetensors": whole}
    return [
        _specimen("safetensors", one, tuple(one), checked=False),
        _specimen("safetensors_parts", files, tuple(files), checked=False),
    ]


def _archived(archive: str, *, keep: str = "") -> dict[str, bytes]:
    """Files of a recorded directory whose paths begin with `keep`."""
    with zipfile.ZipFile(DATA / archive) as packed:
        names = [n for n in packed.namelist() if n.startswith(keep) and n != "truth.json"]
        return {name: packed.read(name) for name in names}


def _orbax() -> list[Specimen]:
    found = []
    for name in ("database_zarr2", "folders_zarr3", "keras", "orbax_0_2"):
        files = _archived(f"orbax/{name}.zip", keep="run/1/" if name == "keras" else "")
        read_too = tuple(
            n for n in files if not n.endswith(("_sharding", "commit_success.txt", "process_0"))
        )
        below = {"record": repairs.mutated_ocdbt} if "database" in name else None
        among = tuple(n for n in read_too if "/d/" in n or n.endswith(".ocdbt")) if below else ()
        specimen = _specimen(f"orbax_{name}", files, read_too, checked=False)
        if below:
            record: Damage = partial(repaired, among=among, repair=repairs.mutated_ocdbt)
            specimen = replace(specimen, damages={**specimen.damages, "record": record})
        found.append(specimen)
    return found


def _saved_models() -> list[Specimen]:
    model = _archived("saved_models/keras2.zip", keep="model_2/")
    among = tuple(name for name in model if name.endswith(".pb"))
    logs = _archived("saved_models/estimator.zip", keep="logs/")
    events = {name: data for name, data in logs.items() if "tfevents" in name}
    saved = {name: data for name, data in logs.items() if "model.ckpt" in name}
    meta = tuple(name for name in saved if name.endswith(".meta"))
    graph = _specimen("logged_graph", events, tuple(events), below=_RECORDS)
    return [
        _specimen("saved_model", model, among, checked=False),
        _specimen("meta_graph", saved, meta, checked=False),
        replace(graph, damages={"records": graph.damages["records"]}),
    ]


def _recorded_state() -> Specimen:
    def described(role: str, path: str, dtype: str) -> dict[str, object]:
        return {"owner": "model", "role": role, "place": 0, "path": path, "dtype": dtype}

    index = {
        "step": 40,
        "variables": [
            described("weight", "fc/kernel", "float32"),
            described("slot", "adam/fc_momentum", "float32"),
            described("slot", "adam/iteration", "int64"),
        ],
    }
    source = np.random.default_rng(5)
    out = io.BytesIO()
    arrays: dict[str, Any] = {
        "0": source.normal(size=(8, 5)).astype("f4"),
        "1": source.normal(size=40).astype("f4"),
        "2": np.array(40, np.int64),
        "index": as_bytes(index),
    }
    np.savez(out, **arrays)
    name = "flight/state-000000040.npz"
    return _specimen("recorded_state", {name: out.getvalue()}, (name,), below=_MEMBER)


def _logs() -> list[Specimen]:
    """Evidence that is no event file; of these only W&B's runs have checksums."""
    names = {
        "progress_text": "keras3_verbose1.out",
        "csv_log": "keras3_logger.csv",
        "lightning_csv": "metrics.csv",
        "trainer_state": "trainer_state.json",
    }
    found = []
    for kind, name in names.items():
        folder = DATA / "logs" / ("version_0" if name == "metrics.csv" else "")
        content = (folder / name).read_bytes()
        found.append(_specimen(kind, {name: content}, (name,), checked=False))
    run = "run-offline.wandb"
    content = (DATA / "logs" / run).read_bytes()
    below = {"records": repairs.mutated_wandb_record}
    wandb = _specimen("wandb_run", {run: content}, (run,), below=below)
    found.append(replace(wandb, appended=True))
    return [replace(specimen, sniffed=True) for specimen in found]


def _dump() -> Specimen:
    root = DATA / "damage" / "tfdbg2"
    files = {f"tfdbg2/{path.name}": path.read_bytes() for path in sorted(root.iterdir())}
    specimen = _specimen("debug_dump", files, tuple(files), observe=observe_dump, below=_RECORDS)
    return replace(specimen, appended=True)
