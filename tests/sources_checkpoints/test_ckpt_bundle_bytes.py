"""Names, shapes, dtypes and bytes of bundles equal those that TensorFlow's own reader gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forensics.domain.run import CheckpointStatus
from forensics.sources.checkpoints.bundle_index import read_index
from forensics.sources.checkpoints.bundle_strings import strings
from forensics.sources.checkpoints.object_graph import GRAPH_KEY
from forensics.sources.checkpoints.registry import find_checkpoints, open_checkpoint
from forensics.sources.checkpoints.scan import read_checkpoints
from forensics.sources.storage.place import Directory

pytestmark = [pytest.mark.tf, pytest.mark.filterwarnings("ignore")]

NUMBERS = np.random.default_rng(7)
BUNDLES = [
    "every/dtype", "text/ckpt-3", "grid/ckpt", "rows/model.ckpt-5", "columns/model.ckpt-5",
    "several/model.ckpt-5", "many/ckpt-2", "manager/ckpt-9",
]  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles as every writer writes them, from one import of TensorFlow."""
    import tensorflow as tf

    root = tmp_path_factory.mktemp("written")
    _every_dtype(tf, root / "every" / "dtype")
    _texts(tf, root / "text" / "ckpt-3")
    _grid(tf, root / "grid" / "ckpt")
    for folder, shape, sharded in (
        ("rows", [7, 1, 1], False), ("columns", [1, 3, 1], False), ("several", [5, 1, 1], True),
    ):  # fmt: skip
        _saver(tf, root / folder / "model.ckpt", shape, sharded=sharded)
    many = {f"layer_{i}/kernel": tf.Variable(tf.fill([2, 3], float(i))) for i in range(400)}
    tf.train.Checkpoint(**{k.replace("/", "_"): v for k, v in many.items()}).write(
        str(root / "many" / "ckpt-2")
    )
    step = tf.Variable(0, dtype=tf.int64)
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(step=step, data=iter(tf.data.Dataset.range(9).shuffle(4))),
        str(root / "manager"),
        max_to_keep=2,
    )
    for _ in range(3):
        manager.save(checkpoint_number=step.assign_add(3))
    return root


def _save(tf: Any, prefix: Path, names: list[str], slices: list[str], tensors: list[Any]) -> None:
    prefix.parent.mkdir(parents=True, exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=str(prefix), tensor_names=names, shape_and_slices=slices, tensors=tensors
    )


def _every_dtype(tf: Any, prefix: Path) -> None:
    names, tensors = [], []
    for name in (
        "float32", "float64", "int32", "uint8", "int16", "int8", "complex64", "int64", "bool",
        "qint8", "quint8", "qint32", "bfloat16", "qint16", "quint16", "uint16", "complex128",
        "half", "uint32", "uint64", "float8_e5m2", "float8_e4m3fn", "int4", "uint4",
    ):  # fmt: skip
        dtype = tf.dtypes.as_dtype(name)
        wide = NUMBERS.normal(0, 2, (3, 5))
        if name.startswith(("q", "int4", "uint4")):
            array = np.abs(wide).astype(np.int64).astype(dtype.as_numpy_dtype)
            tensors.append(tf.constant(array, dtype, shape=array.shape))
        else:
            tensors.append(tf.cast(tf.constant(np.abs(wide)), dtype))
        names.append(name)
    tensors += [tf.zeros([0, 4]), tf.constant(3.5), tf.constant([[True]])]
    names += ["empty", "scalar", "flag"]
    _save(tf, prefix, names, [""] * len(names), tensors)


def _texts(tf: Any, prefix: Path) -> None:
    values = [
        tf.constant("one"),
        tf.constant([["", "é" * 100], ["x" * 5000, "\0\1"]]),
        tf.constant([], tf.string),
        tf.constant([b"\xff\xfe"] * 300),
    ]
    names = ["scalar", "square", "none", "many"]
    _save(tf, prefix, names, [""] * 4, values)


def _grid(tf: Any, prefix: Path) -> None:
    """A tensor cut along two axes, unevenly; negative, long and odd names."""
    whole = NUMBERS.normal(size=(70, 300, 2)).astype(np.float32)
    names, slices, parts = [], [], []
    for rows in ((0, 1), (1, 69)):
        for columns in ((0, 100), (100, 130), (230, 70)):
            for name in ("w", "a/very/long/name/" * 20, "naïve \t"):
                names.append(name)
                slices.append(f"70 300 2 {rows[0]},{rows[1]}:{columns[0]},{columns[1]}:-")
                cut = whole[rows[0] : rows[0] + rows[1], columns[0] : columns[0] + columns[1]]
                parts.append(tf.constant(cut))
    _save(tf, prefix, names, slices, parts)


def _saver(tf: Any, prefix: Path, cut: list[int], *, sharded: bool) -> None:
    v1 = tf.compat.v1
    prefix.parent.mkdir(parents=True)
    with tf.Graph().as_default(), v1.Session() as session:
        with v1.variable_scope("net"):
            v1.get_variable(
                "kernel",
                [70, 33, 9],
                tf.float64,  # TensorFlow cannot read slices of halves that it wrote.
                partitioner=lambda shape, dtype: cut,
                initializer=v1.random_normal_initializer(dtype=tf.float64),
            )
            v1.get_variable("bias", [4], initializer=v1.ones_initializer())
        v1.train.get_or_create_global_step()
        session.run(v1.global_variables_initializer())
        v1.train.Saver(sharded=sharded).save(session, str(prefix), global_step=5)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_bytes_equal_tensorflows(written: Path, bundle: str) -> None:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(written / bundle))
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    place = Directory(written)
    form, claim = next(
        found for found in find_checkpoints(place.survey().files, place) if found[1].name == bundle
    )
    with open_checkpoint(place, form, claim) as checkpoint:
        assert checkpoint.contents.warnings == []
        stored = {tensor.name: tensor for tensor in checkpoint.stored}
        assert stored.keys() == shapes.keys() - {GRAPH_KEY}
        for name, tensor in stored.items():
            assert tensor.shape == tuple(shapes[name]), name
            assert tensor.dtype == dtypes[name].name, name
            content = b"".join(bytes(piece) for piece in tensor.pieces())
            if tensor.numeric:
                expected = np.ascontiguousarray(reader.get_tensor(name)).tobytes()
                assert content == expected, name
    assert read_checkpoints(place).warnings == ()


def test_texts_equal_tensorflows(written: Path) -> None:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(written / "text" / "ckpt-3"))
    index = read_index((written / "text" / "ckpt-3.index").read_bytes(), "i")
    with Directory(written).open("text/ckpt-3.data-00000-of-00001") as blob:
        for entry in index.entries:
            expected = np.asarray(reader.get_tensor(entry.name)).reshape(-1).tolist()
            assert [bytes(text) for text in strings(blob, entry)] == expected


def _spoilt(path: Path) -> Iterator[Path]:
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 40)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :])
        yield path
    path.write_bytes(whole)


@pytest.mark.parametrize("bundle", ["text/ckpt-3", "manager/ckpt-9", "grid/ckpt"])
def test_a_flipped_bit_anywhere_is_found(written: Path, bundle: str) -> None:
    """Checksums cover texts and variants too."""
    for _ in _spoilt(written / f"{bundle}.data-00000-of-00001"):
        scan = read_checkpoints(Directory((written / bundle).parent))
        states = {c.path: c.status for c in scan.checkpoints}
        assert states[bundle.split("/")[1]] is CheckpointStatus.DAMAGED


def test_steps_of_a_manager_and_of_a_saver(written: Path) -> None:
    steps = {c.path: c.step for c in read_checkpoints(Directory(written)).checkpoints}
    assert (steps["manager/ckpt-6"], steps["manager/ckpt-9"]) == (6, 9)
    assert steps["rows/model.ckpt-5"] == 0, "the variable says so, whatever the name says"
