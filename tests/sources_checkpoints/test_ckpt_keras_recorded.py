"""Files that Keras 2 and Keras 3 wrote: nothing is missing, nothing is made up, kinds are right."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from forensics.domain.run import CheckpointStats, CheckpointStatus, TensorKind
from forensics.sources.checkpoints.registry import find_checkpoints, open_checkpoint
from forensics.sources.checkpoints.scan import CheckpointScan, read_checkpoints
from forensics.sources.storage.place import Directory

RECORDED = Path(__file__).parents[1] / "data" / "keras" / "recorded.zip"
# Keras merges LoRA into the kernel as it saves; it does not save generators that nothing holds.
NOT_SAVED = ("/lora_kernel_a", "/lora_kernel_b", "/seed_generator_state", "/dense_23/kernel")

Found = Counter[tuple[tuple[int, ...], str, str]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keras")
    with zipfile.ZipFile(RECORDED) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def scan(root: Path) -> CheckpointScan:
    return read_checkpoints(Directory(root))


def named(scan: CheckpointScan, path: str) -> CheckpointStats:
    return next(c for c in scan.checkpoints if c.path == path)


def listed(root: Path, path: str) -> dict[str, tuple[tuple[int, ...], str, bytes]]:
    place = Directory(root)
    for form, claim in find_checkpoints(place.survey().files, place):
        if claim.name == path:
            with open_checkpoint(place, form, claim) as checkpoint:
                assert checkpoint.contents.warnings == []
                return {
                    t.name: (t.shape, t.dtype, b"".join(map(bytes, t.pieces())))
                    for t in checkpoint.stored
                }
    raise AssertionError(f"{path} was not found")


def counted(tensors: dict[str, tuple[tuple[int, ...], str, bytes]]) -> Found:
    return Counter((s, d, hashlib.sha256(b).hexdigest()) for s, d, b in tensors.values())


def test_every_file_is_read_whole(scan: CheckpointScan) -> None:
    assert scan.warnings == ()
    assert {c.path for c in scan.checkpoints} == {
        *(f"k3/{name}.weights.h5" for name in (
            "bfloat16", "float16", "float8", "int4", "int8", "lora", "mixed_bfloat16",
            "mixed_float16", "mixture",
        )),
        "k3/mixture.keras", "k3/mixed_bfloat16.keras", "k3/sgd.keras", "k3/mixture.h5",
        "k3/sharded.weights.json", "k3/unzipped",
        "k2/k2.keras", "k2/k2.weights.h5", "k2/k2_model.h5", "k2/k2_named_weights.h5",
        "k2/k2_old_optimizer.h5",
    }  # fmt: skip
    assert all(c.status is CheckpointStatus.CLEAN for c in scan.checkpoints)
    archives = {c.path for c in scan.checkpoints if c.verifiable}
    assert archives == {path for path in archives if path.endswith(".keras")}
    assert len(archives) == 4


@pytest.mark.parametrize(
    "path",
    ["bfloat16.weights.h5", "float16.weights.h5", "float8.weights.h5", "int4.weights.h5",
     "int8.weights.h5", "lora.weights.h5", "mixed_bfloat16.keras", "mixed_float16.weights.h5",
     "mixture.h5", "mixture.keras", "mixture.weights.h5", "sgd.keras", "sharded.weights.json"],
)  # fmt: skip
def test_variables_are_what_keras_held(root: Path, path: str) -> None:
    truth = json.loads((root / "k3" / f"{path}.truth.json").read_text())
    wanted: Found = Counter(
        (tuple(v["shape"]), v["dtype"], v["sha256"])
        for v in truth
        if not v["path"].endswith(NOT_SAVED)
    )
    found = counted(listed(root, f"k3/{path}"))
    assert not wanted - found
    # Optimizers under loss scaling list the variables of the inner one twice.
    extra = {"mixed_float16.weights.h5": 10, "lora.weights.h5": 1}.get(path, 0)
    assert sum((found - wanted).values()) == extra


@pytest.mark.parametrize(
    "path",
    ["k3/mixture.weights.h5", "k3/mixture.h5", "k2/k2.weights.h5", "k2/k2_model.h5",
     "k2/k2_named_weights.h5", "k2/k2_old_optimizer.h5"],
)  # fmt: skip
def test_datasets_equal_h5pys(root: Path, path: str) -> None:
    wanted = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            wanted[name] = (item.shape, item.dtype.name, np.asarray(item[()]).tobytes())

    with h5py.File(root / path) as file:
        file.visititems(visit)
    assert listed(root, path) == wanted


def test_kinds(scan: CheckpointScan) -> None:
    kinds = {t.name: t.kind for t in named(scan, "k2/k2_old_optimizer.h5").tensors}
    assert kinds["model_weights/out/out/kernel:0"] is TensorKind.WEIGHT
    assert kinds["optimizer_weights/Adam/out/kernel/m:0"] is TensorKind.SLOT
    assert kinds["optimizer_weights/Adam/iter:0"] is TensorKind.OTHER
    kinds = {t.name: t.kind for t in named(scan, "k2/k2.weights.h5").tensors}
    assert kinds["metrics/mean/vars/0"] is TensorKind.METRIC
    assert kinds["optimizer/vars/0"] is TensorKind.OTHER
    assert kinds["layers/bidirectional/forward_layer/cell/vars/0"] is TensorKind.WEIGHT
    counts = Counter(t.kind for t in named(scan, "k3/sharded.weights.json").tensors)
    assert counts == {TensorKind.WEIGHT: 4, TensorKind.OTHER: 2, TensorKind.SLOT: 8}


@pytest.mark.parametrize("path", ["k3/mixture.keras", "k3/mixture.h5"])
def test_settings(scan: CheckpointScan, path: str) -> None:
    config = named(scan, path).config
    assert (config["optimizer"], config["learning_rate"]) == ("AdamW", 0.1)
    assert config["optimizer_config"]["global_clipnorm"] == 1
    assert config["optimizer_config"]["weight_decay"] == 0.01
    assert "clipnorm" not in config["optimizer_config"]
    assert config["learning_rate_schedule"] == "CosineDecay"
    assert config["learning_rate_schedule_config"] == {
        "initial_learning_rate": 0.1, "decay_steps": 100, "alpha": 0.01, "warmup_steps": 0,
    }  # fmt: skip
    assert (config["loss"], config["metrics"]) == ("huber_loss", ["mae"])
    assert config["keras_version"] == "3.15.1"
    activations = [(a["layer"], a["activation"]) for a in config["activations"]]
    assert activations[:2] == [("forward_gru", "tanh"), ("forward_gru", "sigmoid")]
    assert ("backward_gru", "tanh") in activations
    assert ("dense", "relu") in activations  # of the nested model
    kernels = [i for i in config["initializers"] if i["weight"] == "recurrent"]
    assert {(i["initializer"], i["gain"]) for i in kernels} == {("Orthogonal", 1)}


def test_settings_of_keras_2(scan: CheckpointScan) -> None:
    config = named(scan, "k2/k2_model.h5").config
    assert (config["optimizer"], config["learning_rate"]) == ("RMSprop", 0.1)
    assert config["optimizer_config"]["clipnorm"] == 1
    assert config["learning_rate_schedule"] == "ExponentialDecay"
    assert (config["loss"], config["metrics"]) == ("mse", ["mae"])
    assert named(scan, "k2/k2_old_optimizer.h5").config["learning_rate"] == 0.01
    assert named(scan, "k2/k2.keras").config["keras_version"] == "2.15.0"
    assert named(scan, "k3/mixed_bfloat16.keras").config["dtype_policy"] == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("path", "step"), [("k3/mixture.keras", 2), ("k3/sharded.weights.json", 2),
                       ("k2/k2_model.h5", 2), ("k2/k2_old_optimizer.h5", 2),
                       ("k3/mixed_float16.weights.h5", 2)],
)  # fmt: skip
def test_steps(scan: CheckpointScan, path: str, step: int) -> None:
    assert named(scan, path).step == step


def test_a_list_that_the_file_does_not_keep(root: Path, tmp_path: Path) -> None:
    """The older format lists its weights: what is listed must be there."""
    copy = tmp_path / "model.h5"
    copy.write_bytes((root / "k2" / "k2_model.h5").read_bytes())
    with h5py.File(copy, "a") as file:
        del file["model_weights/out/out/bias:0"]
    scan = read_checkpoints(Directory(tmp_path))
    (warning,) = scan.warnings
    assert warning.kind == "missing_tensor"
    assert "model_weights/out/out/bias:0" in warning.detail
    assert scan.checkpoints[0].status is CheckpointStatus.DAMAGED


def sharded(root: Path, folder: Path) -> None:
    for path in (root / "k3").glob("sharded*"):
        (folder / path.name).write_bytes(path.read_bytes())


def test_shards_hold_what_their_map_says(root: Path, tmp_path: Path) -> None:
    sharded(root, tmp_path)
    scan = read_checkpoints(Directory(tmp_path))
    assert scan.warnings == ()
    assert [i.path for i in scan.inputs] == [
        "sharded.weights.json", "sharded_00000.weights.h5", "sharded_00001.weights.h5",
    ]  # fmt: skip
    with h5py.File(tmp_path / "sharded_00001.weights.h5", "a") as file:
        del file["optimizer/vars/5"]
    (warning,) = read_checkpoints(Directory(tmp_path)).warnings
    assert (warning.path, warning.kind) == ("sharded.weights.json", "missing_tensor")
    with h5py.File(tmp_path / "sharded_00001.weights.h5", "a") as file:
        del file["optimizer"]
    (warning,) = read_checkpoints(Directory(tmp_path)).warnings
    assert (warning.path, warning.kind) == ("sharded_00001.weights.h5", "missing_tensor")


def test_shards_inside_an_archive(root: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        for path in sorted((root / "k3").glob("sharded*")):
            if not path.name.endswith(".truth.json"):
                archive.write(path, path.name.replace("sharded", "model"))
    text = (root / "k3" / "sharded.weights.json").read_text().replace("sharded", "model")
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("model.weights.json", text)
        for number in range(2):
            name = f"{number:05}.weights.h5"
            archive.write(root / "k3" / f"sharded_{name}", f"model_{name}")
    lost, sound = read_checkpoints(Directory(tmp_path)).checkpoints
    if lost.path == "other.keras":
        lost, sound = sound, lost
    assert sound.status is CheckpointStatus.CLEAN
    assert len(sound.tensors) == 14
    # Its map still names the files as they were called outside.
    assert lost.status is CheckpointStatus.DAMAGED


def test_a_folder_without_its_configuration_is_a_weights_file(root: Path, tmp_path: Path) -> None:
    weights = (root / "k3" / "unzipped" / "model.weights.h5").read_bytes()
    (tmp_path / "model.weights.h5").write_bytes(weights)
    (checkpoint,) = read_checkpoints(Directory(tmp_path)).checkpoints
    assert (checkpoint.path, checkpoint.config["optimizer"]) == ("model.weights.h5", "SGD")


def test_nothing_heavy_is_imported(root: Path) -> None:
    """The process that analyses never loads libhdf5, nor looks up a class of Keras."""
    code = (
        "import sys\n"
        "from forensics.sources.checkpoints.scan import read_checkpoints\n"
        "from forensics.sources.storage.place import Directory\n"
        f"scan = read_checkpoints(Directory({str(root)!r}))\n"
        "assert len(scan.checkpoints) == 20, scan\n"
        "print(sorted({'h5py', 'tensorflow', 'keras', 'pandas', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
