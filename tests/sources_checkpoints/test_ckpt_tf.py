"""Checkpoints as TensorFlow and Keras write them, against TensorFlow's own reader and h5py."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forensics.domain.run import CheckpointStats, CheckpointStatus, StepSource, TensorKind
from forensics.sources.checkpoints.scan import CheckpointScan, read_checkpoints
from forensics.sources.storage.place import Directory

pytestmark = [pytest.mark.tf, pytest.mark.filterwarnings("ignore")]

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
W, S, O = TensorKind.WEIGHT, TensorKind.SLOT, TensorKind.OTHER  # noqa: E741
STEPS = 4


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of checkpoint, from one import of TensorFlow."""
    import keras
    import tensorflow as tf

    root = tmp_path_factory.mktemp("written")
    keras.utils.set_random_seed(1)
    x, y = np.random.rand(32, 4).astype("f4"), np.random.rand(32, 2).astype("f4")

    def trained(optimizer: Any) -> Any:
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(3, activation="relu", name="first"),
                keras.layers.BatchNormalization(name="norm"),
                keras.layers.Dropout(0.2),
                keras.layers.Dense(2, name="last"),
            ]
        )
        model.compile(optimizer, "mse", metrics=["mae"])
        model.fit(x, y, batch_size=8, verbose=0)
        return model

    model = trained(keras.optimizers.Adam(0.01))
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    tf.train.CheckpointManager(checkpoint, root / "adam", None).save()
    model.save_weights(root / "adam.weights.h5")
    model.save(root / "adam.keras")
    model.save(root / "adam.h5")
    scaled = trained(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.01)))
    tf.train.Checkpoint(model=scaled).save(root / "scaled" / "ckpt")
    scaled.save_weights(root / "scaled.weights.h5")
    _write_raw(tf, root)
    _write_shards(tf, root)
    return root


def _write_raw(tf: Any, root: Path) -> None:
    variables = {
        "single": tf.Variable([[1.0, float("nan")]]),
        "half": tf.Variable(tf.cast([1.0, float("inf")], tf.float16)),
        "brain": tf.Variable(tf.cast([1.0, 2.0, 0.0], tf.bfloat16)),
        "double": tf.Variable(tf.constant([1e300, -1e300], tf.float64)),
        "complex": tf.Variable(tf.constant([3 + 4j], tf.complex64)),
        "integer": tf.Variable(tf.constant([-3, 7], tf.int8)),
        "flag": tf.Variable([True, False]),
        "text": tf.Variable(["a", "bc" * 100]),
        "empty": tf.Variable(tf.zeros([0, 3]), shape=[0, 3]),
        "large": tf.Variable(tf.random.stateless_normal([700, 1000], [1, 2])),
        "best_loss": tf.Variable(float("inf")),
        "step": tf.Variable(40, dtype=tf.int64),
    }
    iterator = iter(tf.data.Dataset.range(3))
    tf.train.Checkpoint(**variables, data=iterator).write(root / "raw" / "model.ckpt-1")


def _write_shards(tf: Any, root: Path) -> None:
    parts = [str(root / "parts" / name) for name in "ab"]
    for number, part in enumerate(parts):
        names, values = [f"t{number}", f"u{number}"], [np.full(5, number, "f4"), np.int64(number)]
        tf.raw_ops.SaveV2(
            prefix=part, tensor_names=names, shape_and_slices=["", ""], tensors=values
        )
    (root / "sharded").mkdir()
    tf.raw_ops.MergeV2Checkpoints(
        checkpoint_prefixes=parts,
        destination_prefix=str(root / "sharded" / "ckpt-7"),
        delete_old_dirs=True,
    )


@pytest.fixture(scope="module")
def scan(written: Path) -> CheckpointScan:
    return read_checkpoints(Directory(written))


def named(scan: CheckpointScan, path: str) -> CheckpointStats:
    return next(c for c in scan.checkpoints if c.path == path)


def kinds(checkpoint: CheckpointStats) -> dict[str, TensorKind]:
    return {t.name.removesuffix(VALUE): t.kind for t in checkpoint.tensors}


def test_nothing_is_damaged(scan: CheckpointScan) -> None:
    assert scan.warnings == ()
    assert {c.path for c in scan.checkpoints} == {
        "adam/ckpt-1", "adam.weights.h5", "adam.keras", "adam.h5", "scaled/ckpt-1",
        "scaled.weights.h5", "raw/model.ckpt-1", "sharded/ckpt-7",
    }  # fmt: skip


@pytest.mark.parametrize(
    "path", ["adam/ckpt-1", "scaled/ckpt-1", "raw/model.ckpt-1", "sharded/ckpt-7"]
)
def test_bundles_equal_tensorflows_reader(written: Path, scan: CheckpointScan, path: str) -> None:
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(written / path))
    shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    tensors = {t.name: t for t in named(scan, path).tensors}
    assert tensors.keys() == shapes.keys() - {"_CHECKPOINTABLE_OBJECT_GRAPH"}
    for name, stats in tensors.items():
        assert stats.shape == tuple(shapes[name])
        assert stats.dtype == dtypes[name].name
        if stats.dtype not in ("string", "variant"):
            _compare(stats, reader.get_tensor(name))


def _compare(stats: Any, array: Any) -> None:
    values = np.asarray(array)
    if values.dtype.kind == "c":
        values = values.view(values.real.dtype)
    wide = values.astype(np.longdouble)
    finite = wide[np.isfinite(wide)]
    assert stats.count == wide.size
    assert stats.nan == np.isnan(wide).sum()
    assert stats.pos_inf == (wide == np.inf).sum()
    assert stats.neg_inf == (wide == -np.inf).sum()
    assert stats.zero == (wide == 0).sum()
    if finite.size:
        assert (stats.min, stats.max) == (finite.min(), finite.max())
        scale = float(np.abs(finite).max())
        assert stats.mean == pytest.approx(float(finite.mean()), rel=1e-9, abs=1e-12 * scale)
        spread = float(np.sqrt(((finite - finite.mean()) ** 2).mean()))
        assert stats.std == pytest.approx(spread, rel=1e-9, abs=1e-12 * scale)
        assert stats.l2_norm == pytest.approx(float(np.sqrt((finite**2).sum())), rel=1e-9)


def _datasets(image: Any) -> dict[str, Any]:
    import h5py

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with h5py.File(image, "r") as file:
        file.visititems(visit)
    return found


@pytest.mark.parametrize("path", ["adam.weights.h5", "scaled.weights.h5", "adam.h5", "adam.keras"])
def test_keras_files_equal_h5py(written: Path, scan: CheckpointScan, path: str) -> None:
    image: Any = written / path
    if path.endswith(".keras"):
        with zipfile.ZipFile(image) as archive:
            image = io.BytesIO(archive.read("model.weights.h5"))
    arrays = _datasets(image)
    tensors = {t.name: t for t in named(scan, path).tensors}
    assert tensors.keys() == arrays.keys()
    for name, stats in tensors.items():
        assert (stats.shape, stats.dtype) == (np.shape(arrays[name]), arrays[name].dtype.name)
        _compare(stats, arrays[name])


def test_kinds_of_a_bundle(scan: CheckpointScan) -> None:
    found = kinds(named(scan, "adam/ckpt-1"))
    assert {n for n, k in found.items() if k is S} == {
        f"optimizer/_variables/{i}" for i in range(2, 14)
    }
    assert {n for n, k in found.items() if k is O} == {
        "optimizer/_iterations", "optimizer/_learning_rate", "save_counter",
    }  # fmt: skip
    # Six trained weights, moving mean and variance: whatever their keys begin with.
    assert sum(k is W for k in found.values()) == 8


def test_kinds_under_loss_scaling(scan: CheckpointScan) -> None:
    found = kinds(named(scan, "scaled/ckpt-1"))
    assert sum(k is W for k in found.values()) == 8
    assert sum(k is S for k in found.values()) == 12
    assert found["model/optimizer/dynamic_scale"] is O


@pytest.mark.parametrize("path", ["adam.weights.h5", "adam.keras"])
def test_kinds_of_keras_files(scan: CheckpointScan, path: str) -> None:
    found = kinds(named(scan, path))
    assert {n for n, k in found.items() if k is S} == {f"optimizer/vars/{i}" for i in range(2, 14)}
    assert {n for n, k in found.items() if k is O} == {"optimizer/vars/0", "optimizer/vars/1"}
    assert sum(k is W for k in found.values()) == 8


def test_kinds_of_the_older_format(scan: CheckpointScan) -> None:
    found = kinds(named(scan, "adam.h5"))
    assert [sum(k is kind for k in found.values()) for kind in (W, S, O)] == [8, 12, 2]


def test_steps(scan: CheckpointScan) -> None:
    sources = {c.path: (c.step, c.step_source) for c in scan.checkpoints}
    iterations = (STEPS, StepSource.ITERATIONS)
    assert sources == {
        # The manager counts saves, and there was one.
        "adam/ckpt-1": iterations,
        "adam.weights.h5": iterations,
        "adam.keras": iterations,
        "adam.h5": iterations,
        # The wrapper's own counter stays at 0.
        "scaled/ckpt-1": iterations,
        "scaled.weights.h5": iterations,
        "raw/model.ckpt-1": (40, StepSource.VARIABLE),
        "sharded/ckpt-7": (7, StepSource.FILE_NAME),
    }


def test_settings(scan: CheckpointScan) -> None:
    for path in ("adam/ckpt-1", "scaled/ckpt-1", "adam.weights.h5", "scaled.weights.h5"):
        assert named(scan, path).config == {"optimizer": "Adam", "learning_rate": 0.01}
    import keras

    settings = dict(named(scan, "adam.keras").config)
    options = settings.pop("optimizer_config")
    assert (options["beta_1"], options["epsilon"], options["amsgrad"]) == (0.9, 1e-7, False)
    assert settings.pop("date_saved")
    assert {(i["layer"], i["weight"], i["initializer"]) for i in settings.pop("initializers")} >= {
        ("first", "kernel", "GlorotUniform"), ("norm", "gamma", "Ones"), ("last", "bias", "Zeros"),
    }  # fmt: skip
    assert settings == {
        "optimizer": "Adam",
        "learning_rate": 0.01,
        "loss": "mse",
        "metrics": ["mae"],
        "keras_version": keras.__version__,
        "run_eagerly": False,
        "steps_per_execution": 1,
        "jit_compile": False,
        "activations": [
            {"layer": "first", "activation": "relu"},
            {"layer": "last", "activation": "linear"},
        ],
        "dtype_policy": "float32",
    }
    assert named(scan, "adam.h5").config["loss"] == "mse"


def test_raw_variables(scan: CheckpointScan) -> None:
    checkpoint = named(scan, "raw/model.ckpt-1")
    found = kinds(checkpoint)
    assert checkpoint.status is CheckpointStatus.POISONED
    assert found["best_loss"] is TensorKind.METRIC
    assert found["text"] is O
    assert {t.name.removesuffix(VALUE) for t in checkpoint.bad_tensors} == {
        "single", "half", "best_loss",
    }  # fmt: skip
    others = {c.path for c in scan.checkpoints if c.status is not CheckpointStatus.CLEAN}
    assert others == {"raw/model.ckpt-1"}


def test_a_lost_shard_of_two(written: Path, tmp_path: Path) -> None:
    for path in (written / "sharded").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "ckpt-7.data-00001-of-00002").unlink()
    scan = read_checkpoints(Directory(tmp_path))
    (checkpoint,) = scan.checkpoints
    assert checkpoint.status is CheckpointStatus.DAMAGED
    assert [t.name for t in checkpoint.tensors] == ["t0", "u0"]
    assert [w.kind for w in scan.warnings] == ["missing_shard"]
