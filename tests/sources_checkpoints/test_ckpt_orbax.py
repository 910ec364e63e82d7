"""Orbax checkpoints of real writers: equal to what Orbax itself reads; what is damaged is said."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from forensics.domain.run import CheckpointStatus, InputState, StepSource, TensorKind
from forensics.errors import Damaged
from forensics.sources.checkpoints.checkpoint_format import Claim, OpenCheckpoint
from forensics.sources.checkpoints.orbax.aggregate import read_aggregate
from forensics.sources.checkpoints.orbax.checkpoint import Orbax
from forensics.sources.checkpoints.orbax.decoder import Decoder
from forensics.sources.checkpoints.orbax.files import Files
from forensics.sources.checkpoints.orbax.names import find_folders
from forensics.sources.checkpoints.orbax.ocdbt_record import TREE_NODE, open_record
from forensics.sources.checkpoints.orbax.store import Databases
from forensics.sources.checkpoints.registry import open_checkpoint
from forensics.sources.checkpoints.scan import CheckpointScan, read_checkpoints
from forensics.sources.checksum import crc32c
from forensics.sources.logdir import read
from forensics.sources.storage.place import Directory
from tests.damage import repairs

DATA = Path(__file__).resolve().parents[1] / "data" / "orbax"
CHECKPOINTS = sorted({f.stem for f in DATA.glob("*.zip")} - {"tree", "numbered"})
DATABASES = ("tree", "numbered")


def unpack(root: Path, name: str) -> Path:
    with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
        archive.extractall(root)
    return root


def names_in(root: Path) -> list[str]:
    files = (p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())
    return sorted(name for name in files if name != "truth.json")


def scan(root: Path) -> CheckpointScan:
    return read_checkpoints(Directory(root))


def last_claim(root: Path) -> Claim:
    return max(Orbax().find(names_in(root), Directory(root)), key=lambda claim: claim.name)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, OpenCheckpoint]]:
    """The last checkpoint of every fixture."""
    found = {}
    for name in CHECKPOINTS:
        root = unpack(tmp_path_factory.mktemp(name), name)
        found[name] = open_checkpoint(Directory(root), Orbax(), last_claim(root))
    yield found
    for checkpoint in found.values():
        checkpoint.__exit__(None, None, None)


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_equals_what_orbax_reads(opened: dict[str, OpenCheckpoint], name: str) -> None:
    with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
        truth = json.loads(archive.read("truth.json"))
    found = [
        {
            "name": t.name,
            "shape": list(t.shape),
            "dtype": t.dtype,
            "sha256": hashlib.sha256(b"".join(t.pieces())).hexdigest(),
        }
        for t in sorted(opened[name].stored, key=lambda t: t.name)
    ]
    assert found == truth
    assert not opened[name].contents.warnings


def test_a_checkpoint_of_keras(tmp_path: Path) -> None:
    for name in ("keras", "keras_tensorflow"):
        result = scan(unpack(tmp_path / name, name))
        assert not result.warnings
        first, last = result.checkpoints
        # The callback names folders by epochs; the optimizer counts steps.
        assert (first.path, first.step, first.step_source) == ("run/0", 2, StepSource.ITERATIONS)
        assert (last.path, last.step) == ("run/1", 4)
        assert last.config["optimizer"] == "Adam"
        assert last.config["learning_rate"] == pytest.approx(0.01)
        assert last.config["loss"] == "mse"
        assert last.config["activations"][0] == {"layer": "dense", "activation": "relu"}
        kinds = {t.name.rpartition("/")[2]: t.kind for t in last.tensors}
        assert kinds["kernel"] is TensorKind.WEIGHT
        assert kinds["sequential_dense_bias_momentum"] is TensorKind.SLOT
        assert kinds["iteration"] is kinds["learning_rate"] is TensorKind.OTHER
        assert kinds["total"] is TensorKind.METRIC
        assert not last.verifiable


def test_steps_of_a_manager_and_other_items(tmp_path: Path) -> None:
    result = scan(unpack(tmp_path, "manager"))
    assert [(c.path, c.step) for c in result.checkpoints] == [("run/3", 3), ("run/7", 7)]
    assert [t.name for t in result.checkpoints[0].tensors] == ["params/w", "step"]
    assert all(i.state is InputState.COMPLETE and i.sha256 for i in result.inputs)


def test_kinds_and_poison_of_a_train_state(tmp_path: Path) -> None:
    (found,) = scan(unpack(tmp_path, "database_zarr2")).checkpoints
    assert found.status is CheckpointStatus.POISONED
    assert [t.name for t in found.bad_tensors] == ["params/dense/bias"]
    kinds = {t.name: t.kind for t in found.tensors}
    assert kinds["opt_state/0/mu"] is TensorKind.SLOT
    assert kinds["opt_state/0/count"] is kinds["step"] is TensorKind.OTHER
    assert (found.step, found.step_source) == (7, StepSource.VARIABLE)


def database(root: Path) -> Databases:
    names = names_in(root)
    return Databases(["db/"], Files(Directory(root), names), names)


@pytest.mark.parametrize("name", DATABASES)
def test_all_keys_and_values_of_a_database(tmp_path: Path, name: str) -> None:
    root = unpack(tmp_path, name)
    truth = json.loads((root / "truth.json").read_text())
    values = database(root)
    found = {key: bytes(values.find(key).read()).hex() for key in values}  # type: ignore[union-attr]
    assert found == truth
    assert values.find("no such key") is None


def nodes(data: bytes) -> Iterator[tuple[int, int]]:
    """Offset and size of the tree nodes in a data file."""
    magic, offset = struct.pack(">I", TREE_NODE), 0
    while (offset := data.find(magic, offset)) >= 0:
        (size,) = struct.unpack_from("<Q", data, offset + 4)
        yield offset, size
        offset += size


def sealed(record: bytes) -> bytes:
    return record[:-4] + struct.pack("<I", crc32c(record[:-4]))


def test_every_byte_of_a_record_counts(tmp_path: Path) -> None:
    """Nodes and manifests carry a CRC-32C: one wrong byte anywhere in them is found."""
    root = unpack(tmp_path, "numbered")
    manifest = max(name for name in names_in(root) if "manifest.0" in name)
    sound = (root / manifest).read_bytes()
    for position in range(len(sound)):
        data = bytearray(sound)
        data[position] ^= 0x40
        (root / manifest).write_bytes(bytes(data))
        with pytest.raises(Damaged) as caught:
            database(root)
        assert 0 <= caught.value.offset <= len(sound)


def test_mutants_below_right_checksums(tmp_path: Path) -> None:
    """The database is not compressed: damage gets to the parser of nodes and manifests."""
    root = unpack(tmp_path, "numbered")
    among = [name for name in names_in(root) if "/d/" in name or "manifest" in name]
    refused = 0
    for number in range(500):
        name = among[number % len(among)]
        sound = (root / name).read_bytes()
        changed, _ = repairs.mutated_ocdbt(sound, str(number))
        (root / name).write_bytes(changed)
        try:
            values = database(root)
            [values.find(key) for key in values]
        except Damaged as error:
            refused += 1
            assert error.kind and error.detail and error.path.startswith("db/")
        (root / name).write_bytes(sound)
    assert refused > 50


def test_a_node_is_verified_before_it_is_parsed() -> None:
    body = b"\0\0\1" + b"\xff" * 50
    record = struct.pack(">IQ", TREE_NODE, 0) + body + bytes(4)
    record = record[:4] + struct.pack("<Q", len(record)) + record[12:]
    with pytest.raises(Damaged, match="crc_mismatch"):
        open_record(record, TREE_NODE, "d/x", 0)
    assert isinstance(open_record(sealed(record), TREE_NODE, "d/x", 0), Decoder)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda r: b"\0" + r[1:], "bad_magic"),
        (lambda r: r[:4] + struct.pack("<Q", 1 << 40) + r[12:], "bad_length"),
        (lambda r: r[:12] + b"\1" + r[13:], "unsupported"),
        (lambda r: r[:13] + b"\2" + r[14:], "unsupported"),
        (lambda r: r[:20], "bad_length"),
        (lambda r: r[:9], "truncated"),
    ],
)
def test_frames_of_records(change, kind: str) -> None:  # type: ignore[no-untyped-def]
    record = struct.pack(">I", TREE_NODE) + struct.pack("<Q", 40) + bytes(28)
    assert len(record) == 40
    with pytest.raises(Damaged) as caught:
        open_record(sealed(change(record)), TREE_NODE, "d/x", 0)
    assert caught.value.kind == kind


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    root = unpack(tmp_path, "chunked_database_zarr3")
    (data,) = (root / "step_7" / "d").iterdir()
    data.unlink()
    result = scan(root)
    (found,) = result.checkpoints
    assert found.status is CheckpointStatus.DAMAGED
    assert "missing_file" in {w.kind for w in result.warnings}


def test_a_chunk_that_is_gone_or_cut(tmp_path: Path) -> None:
    root = unpack(tmp_path, "folders_zarr2")
    chunk = root / "step_7" / "params.dense.kernel" / "1.0"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    (root / "step_7" / "zeros" / "0.0").unlink()
    result = scan(root)
    (found,) = result.checkpoints
    assert found.status is CheckpointStatus.DAMAGED
    by_kind = {w.kind: w for w in result.warnings}
    assert by_kind["truncated"].path == "step_7/params.dense.kernel/1.0"
    assert by_kind["missing_chunk"].path.startswith("step_7/zeros")
    assert "params/dense/columns" in {t.name for t in found.tensors}


def test_an_array_that_the_tree_lists_is_gone(tmp_path: Path) -> None:
    root = unpack(tmp_path, "folders_zarr3")
    for file in (root / "step_7" / "half").rglob("*"):
        if file.is_file():
            file.unlink()
    assert [w.kind for w in scan(root).warnings] == ["missing_array"]


def test_an_unfinished_save(tmp_path: Path) -> None:
    root = unpack(tmp_path, "manager")
    (root / "run" / "7").rename(root / "run" / "7.orbax-checkpoint-tmp")
    result = scan(root)
    status = {c.path: c.status for c in result.checkpoints}
    assert status == {
        "run/3": CheckpointStatus.CLEAN,
        "run/7.orbax-checkpoint-tmp": CheckpointStatus.DAMAGED,
    }
    assert [w.kind for w in result.warnings] == ["unfinished_save"]


def test_databases_that_were_never_merged(tmp_path: Path) -> None:
    root = unpack(tmp_path, "manager")
    (root / "run" / "7" / "state" / "manifest.ocdbt").unlink()
    result = scan(root)
    last = next(c for c in result.checkpoints if c.path == "run/7")
    assert last.status is CheckpointStatus.DAMAGED
    assert [t.name for t in last.tensors] == ["params/w", "step"]
    assert [w.kind for w in result.warnings] == ["unfinished_save"]


def test_a_broken_tree_is_replaced_by_those_of_the_processes(tmp_path: Path) -> None:
    root = unpack(tmp_path, "database_zarr2")
    (sound,) = scan(root).checkpoints
    manifest = root / "step_7" / "manifest.ocdbt"
    manifest.write_bytes(manifest.read_bytes()[:-1] + b"\0")
    result = scan(root)
    (found,) = result.checkpoints
    assert found.status is CheckpointStatus.DAMAGED
    assert repr(found.tensors) == repr(sound.tensors)
    assert [w.kind for w in result.warnings] == ["crc_mismatch"]


def test_without_zstandard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    for name in ("database_zarr2", "folders_zarr3"):
        result = scan(unpack(tmp_path / name, name))
        assert result.checkpoints == ()
        (warning,) = result.warnings
        assert warning.kind == "denied"
        assert "forensics[orbax]" in warning.detail


def test_a_data_file_may_not_lie_outside(tmp_path: Path) -> None:
    """A path in a table is data of somebody else: it leads nowhere but into the database."""
    root = unpack(tmp_path, "numbered")
    (tmp_path / "secret").write_bytes(b"x" * 5000)
    manifest = root / max(name for name in names_in(root) if "manifest.0" in name)
    data = manifest.read_bytes()
    assert b"d/" in data
    manifest.write_bytes(sealed(data.replace(b"d/", b"//")))
    with pytest.raises(Damaged) as caught:
        database(root)
    assert caught.value.kind == "bad_path"


def test_folders_of_checkpoints_among_names() -> None:
    names = [
        "events.out.tfevents.1",
        "run/3/_CHECKPOINT_METADATA", "run/3/state/_METADATA", "run/3/state/manifest.ocdbt",
        "run/3/state/ocdbt.process_0/manifest.ocdbt", "run/3/extra/metadata",
        "old/checkpoint_5/checkpoint", "old/checkpoint_5/params.w/.zarray",
        "old/checkpoint_5/params.w/0.0",
        "bare/7/default/_METADATA", "bare/7/default/w/.zarray",
        "data/set/.zarray", "tf/checkpoint", "tf/model.index",
        "x/9.orbax-checkpoint-tmp-1700/default/d/ab",
    ]  # fmt: skip
    found = {f.folder: sorted(f.items) for f in find_folders(sorted(names))}
    assert found == {
        "run/3": ["run/3/state"],
        "old/checkpoint_5": ["old/checkpoint_5"],
        "bare/7": ["bare/7/default"],
        "x/9.orbax-checkpoint-tmp-1700": [],
    }
    taken = {file for f in find_folders(sorted(names)) for file in f.files}
    assert not taken & {"events.out.tfevents.1", "data/set/.zarray", "tf/checkpoint"}


def test_a_checkpoint_that_is_the_place_itself(tmp_path: Path) -> None:
    root = unpack(tmp_path, "folders_zarr2")
    result = scan(root / "step_7")
    (found,) = result.checkpoints
    assert (found.path, found.step) == (".", 7)
    assert not result.warnings


def test_what_else_lies_beside_is_left_to_others(tmp_path: Path) -> None:
    root = unpack(tmp_path, "folders_zarr2") / "step_7"
    names = [*names_in(root), "events.out.tfevents.1", "model.keras", "tf/ckpt-1.index"]
    ((found),) = find_folders(sorted(names))
    assert found.folder == "."
    assert {"model.keras", "tf/ckpt-1.index", "events.out.tfevents.1"}.isdisjoint(found.files)
    assert "params.dense.kernel/0.0" in found.files


def test_an_old_checkpoint_keeps_leaves_in_its_tree(tmp_path: Path) -> None:
    root = unpack(tmp_path, "orbax_0_2")
    (found,) = scan(root).checkpoints
    assert (found.step, found.step_source) == (7, StepSource.VARIABLE)
    assert {"ema/kernel", "opt_state/0/mu"} <= {t.name for t in found.tensors}
    tree = root / "step_7" / "checkpoint"
    tree.write_bytes(tree.read_bytes()[:-1])
    result = scan(root)
    (found,) = result.checkpoints
    assert found.status is CheckpointStatus.DAMAGED
    assert "params.dense.kernel" in {t.name for t in found.tensors}
    assert [(w.path, w.kind) for w in result.warnings] == [("step_7/checkpoint", "bad_msgpack")]


ARRAY = b"\xc7\x11\x01\x93\x91\x01\xa7float32\xc4\x04"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "bad_msgpack"),
        (b"\xc1", "bad_msgpack"),
        (b"\x07", "bad_msgpack"),
        (b"\x80\x80", "bad_msgpack"),
        (b"\xdf\xff\xff\xff\xff", "bad_msgpack"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "bad_msgpack"),
        (b"\x81\xa1a\xc6\xff\xff\xff\xff", "bad_msgpack"),
        (b"\x82\xa1a\x01\xa1a\x02", "bad_msgpack"),
        (b"\x81\xc0\x01", "bad_msgpack"),
        (b"\x81\xa1\xff\x01", "bad_msgpack"),
        (b"\x81\xa1a" + b"\x91" * 99 + b"\x01", "bad_msgpack"),
        (b"\x81\xa1a\xd4\x01\x01", "bad_array"),
        (b"\x81\xa1a" + ARRAY.replace(b"float32", b"floatxx") + bytes(4), "bad_array"),
        (b"\x81\xa1a" + ARRAY.replace(b"\x91\x01", b"\x91\x02") + bytes(4), "bad_shape"),
    ],
)
def test_hostile_trees(data: bytes, kind: str) -> None:
    with pytest.raises(Damaged) as caught:
        read_aggregate(data, "checkpoint")
    assert caught.value.kind == kind
    assert 0 <= caught.value.offset <= len(data)


def test_leaves_of_a_tree() -> None:
    data = (
        b"\x84\xa1a"
        + ARRAY
        + b"\0\0\x80?"
        + b"\xa1b\x07\xa1c\xc3\xa1d\xcb"
        + struct.pack(">d", 0.5)
    )
    tensors = {t.name: (t.dtype, b"".join(t.pieces())) for t in read_aggregate(data, "x").tensors}
    assert tensors == {
        "a": ("float32", struct.pack("<f", 1.0)),
        "b": ("int64", struct.pack("<q", 7)),
        "c": ("bool", b"\1"),
        "d": ("float64", struct.pack("<d", 0.5)),
    }


def test_in_a_bucket(tmp_path: Path) -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    root = unpack(tmp_path, "database_zarr3")
    for name in names_in(root):
        files.pipe(f"/orbax-run/{name}", (root / name).read_bytes())
    there, here = read("memory://orbax-run").checkpoint_stats, scan(root).checkpoints
    assert [c.path for c in there] == ["step_7"]
    assert repr(there) == repr(here)  # NaN is equal to itself then.


def test_arrays_far_larger_than_what_is_stored(tmp_path: Path) -> None:
    root = unpack(tmp_path, "folders_zarr2")
    metadata = root / "step_7" / "zeros" / ".zarray"
    document = json.loads(metadata.read_text())
    document.update(shape=[1 << 20, 1 << 20], chunks=[1 << 20, 1 << 20])
    metadata.write_text(json.dumps(document))
    result = scan(root)
    (found,) = result.checkpoints
    assert "zeros" not in {t.name for t in found.tensors}
    assert [(w.kind, w.path) for w in result.warnings] == [("limit", "step_7/zeros/.zarray")]
    assert np.isfinite(next(t for t in found.tensors if t.name == "step").max)
