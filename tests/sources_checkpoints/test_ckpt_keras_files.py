"""`.weights.h5`, `.keras` and `.h5` files, whole, damaged and hostile, without Keras."""

from __future__ import annotations

import io
import json
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
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
from forensics.sources.checkpoints.keras_config import settings
from forensics.sources.checkpoints.scan import CheckpointScan, read_checkpoints
from forensics.sources.storage.place import Directory

W, S, O = TensorKind.WEIGHT, TensorKind.SLOT, TensorKind.OTHER  # noqa: E741


def only(scan: CheckpointScan) -> CheckpointStats:
    (checkpoint,) = scan.checkpoints
    return checkpoint


def weights(change: Callable[[h5py.File], None] | None = None, *, scheduled: bool = False) -> bytes:
    """A weights file of a Dense layer and Adam, as Keras 3 lays it out."""
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        layer = file.create_group("layers/dense/vars")
        layer.attrs["name"] = "out"
        layer["0"] = np.arange(6, dtype=np.float32).reshape(2, 3)
        layer["1"] = np.zeros(3, np.float32)
        file.create_group("layers/dropout/seed_generator/vars")["0"] = np.array([1, 2], np.uint32)
        file.create_group("metrics/mean/vars")["0"] = np.float32(np.nan)
        optimizer = file.create_group("optimizer/vars")
        optimizer.attrs["name"] = "adam_1"
        values: list[Any] = [np.int64(40), np.float32(0.001)][: 1 if scheduled else 2]
        values += [np.ones((2, 3), np.float32)] * 2 + [np.ones(3, np.float32)] * 2
        for index, value in enumerate(values):
            optimizer[str(index)] = value
        file.create_group("vars").attrs["name"] = "model"
        if change:
            change(file)
    return image.getvalue()


CONFIG = {
    "class_name": "Sequential",
    "config": {
        "name": "model",
        "dtype": {"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}},
        "layers": [
            {"class_name": "InputLayer", "config": {"name": "in"}},
            {"class_name": "Dense", "config": {"name": "out", "activation": "softmax"}},
            {"class_name": "LeakyReLU", "config": {"name": "leaky"}},
            {
                "class_name": "Bidirectional",
                "config": {
                    "name": "both",
                    "layer": {
                        "class_name": "LSTM",
                        "config": {
                            "name": "lstm",
                            "activation": "tanh",
                            "recurrent_activation": "sigmoid",
                        },
                    },
                },
            },
        ],
    },
    "compile_config": {
        "optimizer": {
            "class_name": "LossScaleOptimizer",
            "config": {
                "inner_optimizer": {
                    "class_name": "Adam",
                    "config": {"learning_rate": 0.0010000000474974513},
                }
            },
        },
        "loss": {
            "class_name": "BinaryCrossentropy",
            "config": {"name": "binary_crossentropy", "from_logits": False},
        },
    },
}


def archive(
    weight_bytes: bytes, config: bytes | None = None, *, method: int = zipfile.ZIP_STORED
) -> bytes:
    image = io.BytesIO()
    with zipfile.ZipFile(image, "w", method) as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", json.dumps(CONFIG).encode() if config is None else config)
        file.writestr("model.weights.h5", weight_bytes)
    return image.getvalue()


def test_a_weights_file(tmp_path: Path) -> None:
    (tmp_path / "step_000040.weights.h5").write_bytes(weights())
    scan = read_checkpoints(Directory(tmp_path))
    checkpoint = only(scan)
    assert {t.name: t.kind for t in checkpoint.tensors} == {
        "layers/dense/vars/0": W, "layers/dense/vars/1": W,
        "layers/dropout/seed_generator/vars/0": O,
        "metrics/mean/vars/0": TensorKind.METRIC,
        "optimizer/vars/0": O, "optimizer/vars/1": O,
        "optimizer/vars/2": S, "optimizer/vars/3": S, "optimizer/vars/4": S, "optimizer/vars/5": S,
    }  # fmt: skip
    # The NaN is a metric's.
    assert checkpoint.status is CheckpointStatus.CLEAN
    assert [t.name for t in checkpoint.bad_tensors] == ["metrics/mean/vars/0"]
    assert checkpoint.config == {"optimizer": "Adam", "learning_rate": 0.001}
    assert (checkpoint.step, checkpoint.step_source) == (40, StepSource.FILE_NAME)
    (record,) = scan.inputs
    assert (record.kind, record.state) == ("weights_h5", InputState.COMPLETE)
    assert scan.warnings == ()


def test_slots_begin_at_one_under_a_schedule(tmp_path: Path) -> None:
    (tmp_path / "last.weights.h5").write_bytes(weights(scheduled=True))
    checkpoint = only(read_checkpoints(Directory(tmp_path)))
    assert {t.name: t.kind for t in checkpoint.tensors}["optimizer/vars/1"] is S
    assert checkpoint.config == {"optimizer": "Adam"}
    assert (checkpoint.step, checkpoint.step_source) == (40, StepSource.ITERATIONS)


def test_an_optimizer_by_another_name(tmp_path: Path) -> None:
    def rename(file: h5py.File) -> None:
        file.move("optimizer", "critic_rule")

    (tmp_path / "a.weights.h5").write_bytes(weights(rename))
    kinds = {t.name: t.kind for t in only(read_checkpoints(Directory(tmp_path))).tensors}
    assert (kinds["critic_rule/vars/0"], kinds["critic_rule/vars/2"]) == (O, S)


@pytest.mark.parametrize("where", ["layers/dense/vars/0", "optimizer/vars/3"])
def test_weights_and_slots_poison(tmp_path: Path, where: str) -> None:
    def poison(file: h5py.File) -> None:
        file[where][0, 1] = -np.inf

    (tmp_path / "a.weights.h5").write_bytes(weights(poison))
    checkpoint = only(read_checkpoints(Directory(tmp_path)))
    assert checkpoint.status is CheckpointStatus.POISONED
    assert where in {t.name for t in checkpoint.bad_tensors}


def test_dtypes_and_layouts(tmp_path: Path) -> None:
    wide = np.random.default_rng(1).normal(size=(5, 300_000)).astype(np.float32)

    def add(file: h5py.File) -> None:
        group = file.create_group("layers/more/vars")
        group.create_dataset("0", data=np.array([1, np.nan], ml_dtypes.bfloat16))
        group["0"].attrs["dtype"] = "bfloat16"
        group.create_dataset("1", data=wide, chunks=(2, 70_000), compression="gzip", shuffle=True)
        group.create_dataset("2", data=wide)
        group["3"] = np.array([b"a", b"bc"])
        group["4"] = h5py.Empty("f4")
        group["5"] = np.array([1.5, 2], ">f8")

    (tmp_path / "a.weights.h5").write_bytes(weights(add))
    checkpoint = only(read_checkpoints(Directory(tmp_path)))
    found = {t.name.removeprefix("layers/more/vars/"): t for t in checkpoint.tensors}
    assert (found["0"].dtype, found["0"].nan, found["0"].max) == ("bfloat16", 1, 1.0)
    for name in "12":
        assert found[name].count == wide.size
        assert found[name].mean == pytest.approx(wide.astype(np.float64).mean())
        assert found[name].max == wide.max()
    assert (found["3"].dtype, found["3"].kind, found["3"].count) == ("string", O, 2)
    assert found["4"].count == 0
    assert (found["5"].dtype, found["5"].max) == ("float64", 2)


def _external_link(file: h5py.File) -> None:
    file["layers/other"] = h5py.ExternalLink("/etc/hostname", "/x")


def _soft_link(file: h5py.File) -> None:
    file["layers/other"] = h5py.SoftLink("/layers/dense")


def _external_storage(file: h5py.File) -> None:
    file.create_dataset("layers/other", shape=(4,), dtype="f4", external=[("/etc/hostname", 0, 16)])


def _virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource("/elsewhere.h5", "x", shape=(4,))
    file.create_virtual_dataset("layers/other", layout)


def _never_written(file: h5py.File) -> None:
    file.create_dataset("layers/other", shape=(1 << 40,), dtype="f4")


def _chunks_never_written(file: h5py.File) -> None:
    file.create_dataset("layers/other", shape=(1 << 40,), dtype="f4", chunks=(1024,))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (_external_link, "refused_link"),
        (_soft_link, "refused_link"),
        (_external_storage, "refused_storage"),
        (_virtual, "refused_storage"),
        (_never_written, "bad_shape"),
        (_chunks_never_written, "missing_chunk"),
    ],
)
def test_hostile_weights(tmp_path: Path, change: Callable[[h5py.File], None], kind: str) -> None:
    (tmp_path / "a.weights.h5").write_bytes(weights(change))
    scan = read_checkpoints(Directory(tmp_path))
    assert only(scan).status is CheckpointStatus.DAMAGED
    assert [w.kind for w in scan.warnings] == [kind]
    assert len(only(scan).tensors) == 10


def test_loops_of_hard_links_end(tmp_path: Path) -> None:
    def loop(file: h5py.File) -> None:
        file["layers/dense/again"] = file["layers"]
        file["layers/dense/twice"] = file["layers/dense/vars/0"]

    (tmp_path / "a.weights.h5").write_bytes(weights(loop))
    checkpoint = only(read_checkpoints(Directory(tmp_path)))
    assert checkpoint.status is CheckpointStatus.CLEAN
    assert len(checkpoint.tensors) == 10


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (0, "bad_signature"),
        (7, "bad_signature"),
        (95, "truncated"),
        (100, "truncated"),
        (3000, "truncated"),
    ],
)
def test_truncated_weights(tmp_path: Path, size: int, kind: str) -> None:
    (tmp_path / "step_7.weights.h5").write_bytes(weights()[:size])
    scan = read_checkpoints(Directory(tmp_path))
    checkpoint = only(scan)
    assert (checkpoint.status, checkpoint.step) == (CheckpointStatus.DAMAGED, 7)
    assert scan.warnings[0].kind == kind
    assert scan.inputs[0].state is InputState.DAMAGED


def test_what_was_written_before_the_cut_is_kept(tmp_path: Path) -> None:
    """libhdf5 refuses a file that is shorter than its superblock says; its tensors may be there."""
    whole = weights()
    with h5py.File(io.BytesIO(whole)) as file:
        cut = file["optimizer/vars/5"].id.get_offset() + 3
    (tmp_path / "a.weights.h5").write_bytes(whole)
    before = {t.name: t for t in only(read_checkpoints(Directory(tmp_path))).tensors}
    (tmp_path / "a.weights.h5").write_bytes(whole[:cut])
    scan = read_checkpoints(Directory(tmp_path))
    kept = only(scan).tensors
    assert scan.warnings[0].kind == "truncated"
    assert 0 < len(kept) < len(before)
    assert all(repr(t) == repr(before[t.name]) for t in kept)


def test_somebodys_data_set_is_no_checkpoint(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["x"] = np.full(4, np.nan)
    assert read_checkpoints(Directory(tmp_path)) == type(read_checkpoints(Directory(tmp_path)))(
        (), (), ()
    )


def test_a_model_in_the_older_format(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file["model_weights/out/out/kernel"] = np.ones((2, 3), np.float32)
        file["optimizer_weights/adam/iteration"] = np.int64(12)
        file["optimizer_weights/adam/learning_rate"] = np.float32(0.01)
        file["optimizer_weights/adam/out_kernel_momentum"] = np.full((2, 3), np.nan, np.float32)
        file.attrs["model_config"] = json.dumps({k: CONFIG[k] for k in ("class_name", "config")})
        file.attrs["training_config"] = json.dumps(
            {"loss": "mse", "optimizer_config": {"class_name": "Adam", "config": {}}}
        )
    checkpoint = only(read_checkpoints(Directory(tmp_path)))
    assert {t.name.rpartition("/")[2]: t.kind for t in checkpoint.tensors} == {
        "kernel": W, "iteration": O, "learning_rate": O, "out_kernel_momentum": S,
    }  # fmt: skip
    assert checkpoint.status is CheckpointStatus.POISONED
    assert (checkpoint.step, checkpoint.step_source) == (12, StepSource.ITERATIONS)
    assert (checkpoint.config["optimizer"], checkpoint.config["loss"]) == ("Adam", "mse")


def test_bfloat16_in_the_older_format(tmp_path: Path) -> None:
    """Keras stores it as two opaque bytes, and says nowhere what they are."""
    with h5py.File(tmp_path / "model.h5", "w") as file:
        file["model_weights/out/out/kernel"] = np.array([1, np.inf], ml_dtypes.bfloat16)
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {}})
    (tensor,) = only(read_checkpoints(Directory(tmp_path))).tensors
    assert (tensor.dtype, tensor.pos_inf, tensor.max) == ("bfloat16", 1, 1.0)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive(tmp_path: Path, method: int) -> None:
    (tmp_path / "ckpt_00040.keras").write_bytes(archive(weights(), method=method))
    checkpoint = only(read_checkpoints(Directory(tmp_path)))
    assert (checkpoint.status, checkpoint.step) == (CheckpointStatus.CLEAN, 40)
    assert len(checkpoint.tensors) == 10
    assert checkpoint.config == {
        "optimizer": "Adam",
        "optimizer_config": {"learning_rate": 0.001},
        "learning_rate": 0.001,
        "loss": "binary_crossentropy",
        "loss_config": {"from_logits": False},
        "loss_from_logits": False,
        "activations": [
            {"layer": "out", "activation": "softmax"},
            {"layer": "leaky", "activation": "leaky_relu"},
            {"layer": "lstm", "activation": "tanh"},
            {"layer": "lstm", "activation": "sigmoid"},
        ],
        "dtype_policy": "mixed_float16",
    }


def test_a_schedule_in_the_configuration() -> None:
    rate = {"class_name": "CosineDecay", "config": {"initial_learning_rate": 0.1}}
    optimizer = {"class_name": "SGD", "config": {"learning_rate": rate}}
    assert settings({"compile_config": {"optimizer": optimizer, "loss": ["mse", "mae"]}}) == {
        "optimizer": "SGD",
        "learning_rate": 0.1,
        "learning_rate_schedule": "CosineDecay",
        "learning_rate_schedule_config": {"initial_learning_rate": 0.1},
        "loss": ["mse", "mae"],
    }


def test_nested_models_do_not_recurse_without_end() -> None:
    nested: dict[str, Any] = {"config": {"name": "d", "activation": "relu"}}
    for _ in range(900):
        nested = {"config": {"layers": [nested]}}
    assert settings(nested) == {}


def test_two_members_of_one_name(tmp_path: Path) -> None:
    image = io.BytesIO(archive(weights()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(image, "a") as file:
            file.writestr("config.json", "{}")
    (tmp_path / "a.keras").write_bytes(image.getvalue())
    scan = read_checkpoints(Directory(tmp_path))
    assert only(scan).status is CheckpointStatus.DAMAGED
    assert [w.kind for w in scan.warnings] == ["duplicate_member"]


def test_a_configuration_that_inflates(tmp_path: Path) -> None:
    huge = b" " * (20 << 20)
    content = archive(weights(), huge, method=zipfile.ZIP_DEFLATED)
    assert len(content) < 200_000
    (tmp_path / "a.keras").write_bytes(content)
    scan = read_checkpoints(Directory(tmp_path))
    assert [w.kind for w in scan.warnings] == ["limit"]
    assert scan.inputs[0].state is InputState.LIMIT


@pytest.mark.parametrize("config", [b"[1]", b"{", b"[" * 100_000, b"\xff\xfe{"])
def test_a_configuration_that_is_none(tmp_path: Path, config: bytes) -> None:
    (tmp_path / "a.keras").write_bytes(archive(weights(), config))
    scan = read_checkpoints(Directory(tmp_path))
    checkpoint = only(scan)
    assert [w.kind for w in scan.warnings] == ["bad_config"]
    assert (checkpoint.status, len(checkpoint.tensors)) == (CheckpointStatus.DAMAGED, 10)


def test_an_archive_without_weights(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as file:
        file.writestr("config.json", json.dumps(CONFIG))
    scan = read_checkpoints(Directory(tmp_path))
    assert [w.kind for w in scan.warnings] == ["missing_member"]
    assert only(scan).config["loss"] == "binary_crossentropy"


ARCHIVE = archive(weights())


@given(seed=st.integers(0, 2**32))
def test_mutants_of_an_archive_are_damaged_or_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """The archive's own checksum keeps changed weights from libhdf5."""
    rng = random.Random(seed)
    mutant = bytearray(ARCHIVE)
    where = rng.randrange(len(mutant))
    if rng.random() < 0.25:
        del mutant[where:]
    else:
        mutant[where] ^= rng.randrange(1, 256)
    root = tmp_path_factory.mktemp("mutant")
    (root / "a.keras").write_bytes(ARCHIVE)
    before = only(read_checkpoints(Directory(root)))
    (root / "a.keras").write_bytes(mutant)
    after = only(read_checkpoints(Directory(root)))
    assert after.status is CheckpointStatus.DAMAGED or repr(after.tensors) == repr(before.tensors)


@pytest.mark.parametrize(("word", "name"), [("adam", "Adam"), ("rmsprop", "RMSprop")])
def test_an_optimizer_that_was_given_as_a_word(word: str, name: str) -> None:
    """Keras 2 saves the arguments of ``compile()`` as they were given."""
    assert settings({"compile_config": {"optimizer": word}}) == {"optimizer": name}
    assert settings({"compile_config": {"optimizer": 7.0}}) == {}
