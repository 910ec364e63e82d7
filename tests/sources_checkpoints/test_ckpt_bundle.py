"""Tensor bundles, whole and damaged, without TensorFlow."""

from __future__ import annotations

import math
import random
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.domain.run import (
    CheckpointStats,
    CheckpointStatus,
    InputState,
    StepSource,
    TensorKind,
)
from forensics.errors import Damaged
from forensics.sources.checkpoints.bundle_index import read_index
from forensics.sources.checkpoints.bundle_table import Table
from forensics.sources.checkpoints.scan import CheckpointScan, read_checkpoints
from forensics.sources.checksum import crc32c, mask
from forensics.sources.storage.place import Directory
from tests.sources_checkpoints.encode import bundle_index, entry, message, number, table, varint

DATA = Path(__file__).resolve().parents[1] / "data" / "checkpoints"
FLOAT, STRING = 1, 7
SHARD = ".data-00000-of-00001"


def only(scan: CheckpointScan) -> CheckpointStats:
    (checkpoint,) = scan.checkpoints
    return checkpoint


def write(
    folder: Path, tensors: dict[str, np.ndarray], *, poke: dict[str, bytes] | None = None
) -> Path:
    """A bundle of float32 tensors; `poke` replaces entries of the index."""
    data, entries = b"", []
    for name, array in sorted(tensors.items()):
        raw = array.astype("<f4").tobytes()
        entries.append((name.encode(), entry(FLOAT, array.shape, len(data), len(raw), crc32c(raw))))
        data += raw
    replaced = dict(entries) | {k.encode(): v for k, v in (poke or {}).items()}
    prefix = folder / "ckpt-3"
    Path(f"{prefix}.index").write_bytes(bundle_index(list(replaced.items())))
    Path(f"{prefix}{SHARD}").write_bytes(data)
    return prefix


def test_a_keras_3_bundle() -> None:
    checkpoint = only(read_checkpoints(Directory(DATA / "adam")))
    assert (checkpoint.path, checkpoint.status) == ("ckpt-1", CheckpointStatus.CLEAN)
    assert (checkpoint.step, checkpoint.step_source) == (4, StepSource.VARIABLE)
    assert checkpoint.config == {"optimizer": "Adam"}
    kinds = {t.name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): t.kind for t in checkpoint.tensors}
    slots = {name for name, kind in kinds.items() if kind is TensorKind.SLOT}
    weights = {name for name, kind in kinds.items() if kind is TensorKind.WEIGHT}
    assert slots == {f"optimizer/_variables/{i}" for i in range(1, 13)}
    assert weights == {
        *(f"optimizer/_trainable_variables/{i}" for i in range(6)),
        "model/_operations/2/moving_mean",
        "model/_operations/2/moving_variance",
    }
    assert kinds.keys() - slots - weights == {
        "optimizer/_iterations", "save_counter", "step", "tfg/_state_var",
    }  # fmt: skip


def test_slices_are_joined_and_names_tell_slots() -> None:
    checkpoint = only(read_checkpoints(Directory(DATA / "partitioned")))
    by_name = {t.name: t for t in checkpoint.tensors}
    assert by_name["w"].shape == (10, 4)
    assert by_name["w"].count == 40
    assert by_name["w"].kind is TensorKind.WEIGHT
    assert {n for n, t in by_name.items() if t.kind is TensorKind.SLOT} == {
        "w/Adam", "w/Adam_1", "b/Adam", "b/Adam_1",
    }  # fmt: skip
    assert by_name["beta1_power"].kind is TensorKind.OTHER
    assert (checkpoint.step, checkpoint.step_source) == (1, StepSource.VARIABLE)


def test_a_non_finite_weight_poisons(tmp_path: Path) -> None:
    write(tmp_path, {"w": np.array([[1, np.nan], [np.inf, -np.inf]]), "b": np.zeros(3)})
    checkpoint = only(read_checkpoints(Directory(tmp_path)))
    assert checkpoint.status is CheckpointStatus.POISONED
    (bad,) = checkpoint.bad_tensors
    assert (bad.name, bad.nan, bad.pos_inf, bad.neg_inf, bad.count) == ("w", 1, 1, 1, 4)


def test_a_missing_shard(tmp_path: Path) -> None:
    shutil.copy(DATA / "adam" / "ckpt-1.index", tmp_path)
    scan = read_checkpoints(Directory(tmp_path))
    checkpoint = only(scan)
    assert (checkpoint.status, checkpoint.tensors) == (CheckpointStatus.DAMAGED, ())
    (warning,) = scan.warnings
    assert (warning.path, warning.kind) == ("ckpt-1.data-00000-of-00001", "missing_shard")
    assert "missing" in warning.detail
    assert "0 tensors were kept" in warning.detail


def test_a_missing_index(tmp_path: Path) -> None:
    shutil.copy(DATA / "adam" / f"ckpt-1{SHARD}", tmp_path)
    scan = read_checkpoints(Directory(tmp_path))
    assert only(scan).status is CheckpointStatus.DAMAGED
    assert [w.kind for w in scan.warnings] == ["missing_index"]


def test_a_flipped_byte_costs_one_tensor(tmp_path: Path) -> None:
    prefix = write(tmp_path, {"a": np.ones(4), "b": np.full(4, 2.0), "c": np.full(4, 3.0)})
    shard = Path(f"{prefix}{SHARD}")
    content = bytearray(shard.read_bytes())
    content[17] ^= 0x40
    shard.write_bytes(content)
    scan = read_checkpoints(Directory(tmp_path))
    checkpoint = only(scan)
    assert checkpoint.status is CheckpointStatus.DAMAGED
    assert [t.name for t in checkpoint.tensors] == ["a", "c"]
    (warning,) = scan.warnings
    assert (warning.path, warning.offset, warning.kind) == (f"ckpt-3{SHARD}", 16, "crc_mismatch")
    assert "2 tensors were kept" in warning.detail
    states = {i.path: i.state for i in scan.inputs}
    assert states == {
        "ckpt-3.index": InputState.COMPLETE,
        f"ckpt-3{SHARD}": InputState.DAMAGED,
    }


def test_a_truncated_shard_keeps_what_is_there(tmp_path: Path) -> None:
    prefix = write(tmp_path, {"a": np.ones(4), "b": np.ones(4)})
    shard = Path(f"{prefix}{SHARD}")
    shard.write_bytes(shard.read_bytes()[:20])
    checkpoint = only(read_checkpoints(Directory(tmp_path)))
    assert checkpoint.status is CheckpointStatus.DAMAGED
    assert [t.name for t in checkpoint.tensors] == ["a"]


def test_a_slice_that_fails_costs_its_variable(tmp_path: Path) -> None:
    shutil.copytree(DATA / "partitioned", tmp_path, dirs_exist_ok=True)
    shard = tmp_path / f"model.ckpt-1{SHARD}"
    index = read_index((tmp_path / "model.ckpt-1.index").read_bytes(), "i")
    content = bytearray(shard.read_bytes())
    content[index.slices["w"][1].entry.offset] ^= 1
    shard.write_bytes(content)
    names = {t.name for t in only(read_checkpoints(Directory(tmp_path))).tensors}
    assert "w" not in names
    assert "w/Adam" in names


@pytest.mark.parametrize(
    ("extra", "said"),
    [(b"", False), (bytes(64), False), (b"\0" * 63 + b"x", True), (bytes(9999), True)],
)
def test_bytes_that_no_tensor_accounts_for(tmp_path: Path, extra: bytes, said: bool) -> None:
    """An index that lost an entry and got a new checksum leaves no other trace."""
    prefix = write(tmp_path, {"a": np.ones(4), "b": np.ones(4)})
    shard = Path(f"{prefix}{SHARD}")
    size = len(shard.read_bytes())
    shard.write_bytes(shard.read_bytes() + extra)
    scan = read_checkpoints(Directory(tmp_path))
    assert only(scan).status is CheckpointStatus.CLEAN
    assert [(w.offset, w.kind) for w in scan.warnings] == said * [(size, "unaccounted_bytes")]


GOOD = np.arange(4, dtype="<f4").tobytes()
OK = crc32c(GOOD)


@pytest.mark.parametrize(
    ("poked", "kind"),
    [
        (entry(FLOAT, [-4], 0, 16, OK), "bad_shape"),
        (entry(FLOAT, [5], 0, 16, OK), "bad_shape"),
        (entry(FLOAT, [2**31, 2**33], 0, 16, OK), "bad_shape"),
        (entry(FLOAT, [1] * 300, 0, 4, OK), "bad_shape"),
        (entry(99, [4], 0, 16, OK), "bad_dtype"),
        (entry(0, [4], 0, 16, OK), "bad_dtype"),
        (entry(FLOAT, [4], 0, 16, OK, shard=3), "bad_shard"),
        (entry(FLOAT, [4], 2**63, 16, OK), "bad_offset"),
        (entry(FLOAT, [4], -8, 16, OK), "bad_offset"),
        (entry(FLOAT, [2**61], 0, 2**63, OK), "bad_offset"),
        (entry(FLOAT, [2**60], 0, 2**62, OK), "out_of_range"),
        (entry(FLOAT, [4], 8, 16, OK), "out_of_range"),
        (entry(FLOAT, [4], 0, 16, OK ^ 1), "crc_mismatch"),
        (entry(STRING, [2**40], 0, 16, OK), "bad_shape"),
        (entry(STRING, [4], 0, 16, OK), "bad_length"),
        (entry(FLOAT, [4], 0, 0, OK, extra=message(7, b"") * 2), "bad_slices"),
        (message(1, b"x"), "bad_wire"),
        (b"\x0b", "bad_wire"),
        (b"\xff" * 12, "bad_wire"),
    ],
)
def test_entries_that_no_writer_writes(tmp_path: Path, poked: bytes, kind: str) -> None:
    write(tmp_path, {"w": np.arange(4)}, poke={"w": poked})
    scan = read_checkpoints(Directory(tmp_path))
    assert only(scan).status is CheckpointStatus.DAMAGED
    assert [w.kind for w in scan.warnings if w.kind != "unaccounted_bytes"] == [kind]


def test_a_shard_of_another_save_is_said(tmp_path: Path) -> None:
    write(tmp_path, {"a": np.ones(4)})
    (tmp_path / "ckpt-3.data-00001-of-00002").write_bytes(b"left from an earlier save")
    scan = read_checkpoints(Directory(tmp_path))
    assert only(scan).status is CheckpointStatus.CLEAN
    assert [(w.path, w.kind) for w in scan.warnings] == [
        ("ckpt-3.data-00001-of-00002", "unaccounted_bytes")
    ]


def test_two_tensors_in_one_place(tmp_path: Path) -> None:
    same = entry(FLOAT, [4], 0, 16, OK)
    write(tmp_path, {"a": np.arange(4), "b": np.arange(4)}, poke={"b": same})
    assert [w.kind for w in read_checkpoints(Directory(tmp_path)).warnings] == ["overlap"]


@pytest.mark.parametrize(
    ("index", "kind"),
    [
        (bundle_index([], endian=1), "unsupported"),
        (bundle_index([], shards=0), "bad_count"),
        (bundle_index([], shards=10**7), "bad_count"),
        (table([(b"a", entry(FLOAT, [4], 0, 16, OK))]), "no_header"),
        (table([(b"", number(1, 1))], kind=2), "unsupported"),
        (table([(b"", number(1, 1))], kind=1), "bad_compression"),
        (table([(b"", number(1, 1)), (b"b", b""), (b"a", b"")]), "bad_dtype"),
        (table([(b"", number(1, 1)), (b"\xff\xfe", entry(FLOAT, [4], 0, 16, OK))]), "bad_name"),
        (table([(b"", number(1, 1)), (b"\x00w", b"")]), "bad_slices"),
        (table([(b"", number(1, 1)), (b"", number(1, 1))]), "bad_order"),
    ],
)
def test_indices_that_no_writer_writes(index: bytes, kind: str) -> None:
    with pytest.raises(Damaged) as raised:
        read_index(index, "i")
    assert raised.value.kind == kind


def test_a_broken_block_of_an_index_costs_what_it_names(tmp_path: Path) -> None:
    names, raw = [f"v{i:02d}" for i in range(12)], np.ones(4, "<f4").tobytes()
    entries = [(b"", number(1, 1))]
    entries += [
        (name.encode(), entry(FLOAT, [4], 16 * i, 16, crc32c(raw))) for i, name in enumerate(names)
    ]
    index = bytearray(table(entries, per_block=4))
    (tmp_path / f"ckpt-3{SHARD}").write_bytes(raw * 12)
    where = index.index(b"v05")
    index[where] ^= 1
    (tmp_path / "ckpt-3.index").write_bytes(index)
    scan = read_checkpoints(Directory(tmp_path))
    assert only(scan).status is CheckpointStatus.DAMAGED
    assert [t.name for t in only(scan).tensors] == names[:3] + names[7:]
    (warning,) = scan.warnings
    assert (warning.path, warning.kind) == ("ckpt-3.index", "crc_mismatch")
    index[where] ^= 1
    index[index.index(b"v01")] ^= 1
    (tmp_path / "ckpt-3.index").write_bytes(index)
    scan = read_checkpoints(Directory(tmp_path))
    assert only(scan).tensors == (), "the block of the header tells where everything is"
    assert [w.kind for w in scan.warnings] == ["crc_mismatch"]


def test_keys_that_expand_without_end() -> None:
    """Each key is the one before it and one byte more: their sum grows with the square."""
    with pytest.raises(Damaged) as raised:
        list(Table(table([(b"k", b"")] * 5000, growing=True), "i").entries())
    assert raised.value.kind == "limit"


@pytest.mark.parametrize("folder", ["adam", "partitioned"])
def test_every_prefix_of_an_index_is_damaged(folder: str) -> None:
    (path,) = (DATA / folder).glob("*.index")
    whole = path.read_bytes()
    for size in range(len(whole)):
        with pytest.raises(Damaged):
            read_index(whole[:size], "i")


def _mutant(content: bytes, seed: int) -> bytes:
    rng = random.Random(seed)
    mutant = bytearray(content)
    where = rng.randrange(len(mutant))
    match rng.randrange(5):
        case 0:
            mutant[where] ^= 1 << rng.randrange(8)
        case 1:
            del mutant[where:]
        case 2:
            mutant[where : where + 16] = bytes(min(16, len(mutant) - where))
        case 3:
            del mutant[where : where + rng.randint(1, 64)]
        case _:
            mutant[where:where] = rng.randbytes(rng.randint(1, 64))
    return bytes(mutant)


@pytest.mark.parametrize("folder", ["adam", "partitioned"])
@pytest.mark.parametrize("suffix", [".index", SHARD])
@given(seed=st.integers(0, 2**32))
def test_mutants_are_damaged_or_the_same(
    tmp_path_factory: pytest.TempPathFactory, folder: str, suffix: str, seed: int
) -> None:
    root = tmp_path_factory.mktemp("mutant")
    shutil.copytree(DATA / folder, root, dirs_exist_ok=True)
    (target,) = root.glob(f"*{suffix}")
    target.write_bytes(_mutant(target.read_bytes(), seed))
    before, after = (
        only(read_checkpoints(Directory(DATA / folder))),
        only(read_checkpoints(Directory(root))),
    )
    assert _without_kinds(after) <= _without_kinds(before)
    if after.status is not CheckpointStatus.DAMAGED:
        assert repr(after.tensors) == repr(before.tensors)
    shutil.rmtree(root)


def _without_kinds(checkpoint: CheckpointStats) -> set[str]:
    """Statistics alone: where the graph itself was hit, kinds are guessed from names."""
    return {repr(replace(t, kind=TensorKind.OTHER)) for t in checkpoint.tensors}


@given(seed=st.integers(0, 2**32))
def test_mutants_with_a_repaired_checksum_are_typed(seed: int) -> None:
    """The parser behind the checksum gives an index or a typed error, never anything else."""
    whole = (DATA / "adam" / "ckpt-1.index").read_bytes()
    end = _first_block_end(whole)
    rng = random.Random(seed)
    block = bytearray(whole[: end + 1])
    for _ in range(rng.randint(1, 8)):
        block[rng.randrange(end)] = rng.randrange(256)
    repaired = bytes(block) + struct.pack("<I", mask(crc32c(block))) + whole[end + 5 :]
    try:
        index = read_index(repaired, "i")
    except Damaged as error:
        assert 0 <= error.offset <= len(repaired)
    else:
        assert all(e.size >= 0 and math.prod(e.shape) >= 0 for e in index.entries)


def _first_block_end(whole: bytes) -> int:
    """Where the only data block ends: the metaindex block follows its trailer."""
    position, shift, meta = len(whole) - 48, 0, 0
    while True:
        byte = whole[position]
        meta |= (byte & 0x7F) << shift
        if byte < 0x80:
            return meta - 5
        position, shift = position + 1, shift + 7


def test_a_variable_that_the_graph_does_not_know(tmp_path: Path) -> None:
    """A repaired checksum hides a renamed key, the object graph does not."""
    shutil.copytree(DATA / "adam", tmp_path, dirs_exist_ok=True)
    path = tmp_path / "ckpt-1.index"
    whole = path.read_bytes()
    end = _first_block_end(whole)
    block = whole[: end + 1].replace(b"moving_mean", b"moving_meat")
    path.write_bytes(block + struct.pack("<I", mask(crc32c(block))) + whole[end + 5 :])
    scan = read_checkpoints(Directory(tmp_path))
    assert only(scan).status is CheckpointStatus.DAMAGED
    assert [w.kind for w in scan.warnings] == ["key_mismatch", "key_mismatch"]


def _with_object(name: str, keys: dict[str, npt.NDArray[np.float32]], folder: Path) -> None:
    """A bundle of one object with this attribute, stored under these keys."""
    graph = message(1, message(1, number(1, 1) + message(2, "t")))
    graph += message(1, message(2, message(1, name) + message(3, f"t/.ATTRIBUTES/{name}")))
    lengths = varint(len(graph))
    crc = crc32c(struct.pack("<I", len(graph)))
    head = lengths + struct.pack("<I", mask(crc))
    crc = crc32c(graph, crc32c(head[-4:], crc))
    raw = head + graph
    rows = [("_CHECKPOINTABLE_OBJECT_GRAPH", entry(STRING, (), 0, len(raw), crc))]
    for key, array in keys.items():
        data = array.tobytes()
        rows.append((key, entry(FLOAT, array.shape, len(raw), len(data), crc32c(data))))
        raw += data
    (folder / "ckpt-3.index").write_bytes(bundle_index([(k.encode(), v) for k, v in sorted(rows)]))
    (folder / f"ckpt-3{SHARD}").write_bytes(raw)


@pytest.mark.parametrize("name", ["table", "a_saveable_of_somebody"])
def test_the_parts_of_a_table_are_no_weights(name: str, tmp_path: Path) -> None:
    """A vocabulary has no place in the norm of the weights."""
    keys = [f"t/.ATTRIBUTES/{name}-{part}" for part in ("keys", "values")]
    _with_object(name, dict.fromkeys(keys, np.ones(2, np.float32)), tmp_path)
    scan = read_checkpoints(Directory(tmp_path))
    assert (only(scan).status, scan.warnings) == (CheckpointStatus.CLEAN, ())
    assert {t.kind for t in only(scan).tensors} == {TensorKind.OTHER}


def test_a_part_of_a_table_that_the_graph_does_not_know(tmp_path: Path) -> None:
    keys = ["t/.ATTRIBUTES/table-keys", "t/.ATTRIBUTES/table-valuer"]
    _with_object("table", dict.fromkeys(keys, np.ones(2, np.float32)), tmp_path)
    scan = read_checkpoints(Directory(tmp_path))
    assert only(scan).status is CheckpointStatus.DAMAGED
    assert ["only the index knows" in w.detail for w in scan.warnings] == [True]


def test_keys_of_an_object_graph_that_is_not_there(tmp_path: Path) -> None:
    """Nothing is broken, but what the tensors are for is a guess then."""
    write(tmp_path, {"w/.ATTRIBUTES/VARIABLE_VALUE": np.ones(3)})
    scan = read_checkpoints(Directory(tmp_path))
    assert only(scan).status is CheckpointStatus.CLEAN
    assert [w.kind for w in scan.warnings] == ["no_object_graph"]
