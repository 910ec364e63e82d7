"""Every format that a run leaves is restored into a case; what is not in it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forensics import read
from forensics.domain.run import CheckpointFormat, CheckpointStats, CheckpointStatus, TensorKind

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from forensics.replay.worker.case import entry, restore  # noqa: E402
from forensics.replay.worker.stepping import state  # noqa: E402

pytestmark = pytest.mark.tf


def network(seed: int) -> Any:
    """Batch normalisation and dropout have state that no optimizer trains."""
    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input((5,)),
        keras.layers.Dense(40, name="a"),
        keras.layers.BatchNormalization(name="bn"),
        keras.layers.Dense(3, name="b"),
    ]
    model = keras.Sequential(layers)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def trained() -> Any:
    model = network(1)
    x = np.random.default_rng(0).random((8, 5), np.float32)
    model.fit(x, x[:, :3], epochs=3, verbose=0)
    return model


def differing(model: Any, trained: Any) -> set[str]:
    """Names of the weights and slots that are not as trained."""
    pairs = zip(
        [*model.variables, *model.optimizer.variables],
        [*trained.variables, *trained.optimizer.variables],
        strict=True,
    )
    return {a.name for a, b in pairs if not np.array_equal(a, b)}


def restored(path: Path | str, kind: str, **case: Any) -> tuple[Any, list[str]]:
    model = network(2)
    given = entry.Case({"model": model, "batch": str, **case})
    everything = state.State(given.restore)
    return model, restore.restore(given, everything, str(path), kind, 3)


def found(folder: Path) -> CheckpointStats:
    """Read the one checkpoint that the reader sees in a folder."""
    (checkpoint,) = read(folder).checkpoint_stats
    assert checkpoint.status is CheckpointStatus.CLEAN
    assert checkpoint.step == 3
    return checkpoint


@pytest.mark.parametrize("name", ["model.weights.h5", "model.keras", "model.h5"])
def test_keras_files(tmp_path: Path, trained: Any, name: str) -> None:
    if name.endswith(".weights.h5"):
        trained.save_weights(tmp_path / name)
    else:
        trained.save(tmp_path / name)
    checkpoint = found(tmp_path)
    model, notes = restored(tmp_path / checkpoint.path, checkpoint.format.value)
    assert notes == []
    assert differing(model, trained) == set()


def test_sharded_weights_are_one_checkpoint(tmp_path: Path, trained: Any) -> None:
    trained.save_weights(tmp_path / "m.weights.json", max_shard_size=2e-6)
    assert len(list(tmp_path.glob("*.weights.h5"))) > 2
    checkpoint = found(tmp_path)
    assert checkpoint.path == "m.weights.json"
    assert checkpoint.format is CheckpointFormat.WEIGHTS_H5
    kinds = [t.kind for t in checkpoint.tensors]
    assert kinds.count(TensorKind.WEIGHT) == len(trained.variables)
    assert kinds.count(TensorKind.SLOT) == len(trained.optimizer.variables) - 2
    model, notes = restored(tmp_path / checkpoint.path, checkpoint.format.value)
    assert notes == []
    assert differing(model, trained) == set()


def test_a_lost_shard_damages_the_checkpoint(tmp_path: Path, trained: Any) -> None:
    trained.save_weights(tmp_path / "m.weights.json", max_shard_size=2e-6)
    sorted(tmp_path.glob("*.weights.h5"))[1].unlink()
    run = read(tmp_path)
    assert [(c.path, c.status) for c in run.checkpoint_stats] == [
        ("m.weights.json", CheckpointStatus.DAMAGED)
    ]
    assert any("m_00001.weights.h5" in w.path for w in run.warnings)


def test_a_folder_that_keras_left_unzipped(tmp_path: Path, trained: Any) -> None:
    trained.save(tmp_path / "saved", zipped=False)
    checkpoint = found(tmp_path)
    model, notes = restored(tmp_path / checkpoint.path, checkpoint.format.value)
    assert (differing(model, trained), notes) == (set(), [])


@pytest.mark.parametrize("root", [True, False])
def test_bundles_by_name_and_by_root(tmp_path: Path, trained: Any, root: bool) -> None:
    held = {"root": trained} if root else {"model": trained, "optimizer": trained.optimizer}
    tf.train.Checkpoint(**held).write(str(tmp_path / "ckpt-3"))
    checkpoint = found(tmp_path)
    model, notes = restored(tmp_path / "ckpt-3", checkpoint.format.value)
    assert (differing(model, trained), notes) == (set(), [])


def test_a_bundle_of_the_optimizer_alone_holds_what_it_trains(tmp_path: Path, trained: Any) -> None:
    path = tf.train.Checkpoint(optimizer=trained.optimizer).write(str(tmp_path / "ckpt-3"))
    model, notes = restored(path, "tensor_bundle")
    assert differing(model, trained) == {"moving_mean", "moving_variance"}
    assert len(notes) == 1 and "moving_mean" in notes[0] and "built values" in notes[0]


def test_a_bundle_of_the_weights_alone_says_that_slots_are_missing(
    tmp_path: Path, trained: Any
) -> None:
    bare = keras.Sequential([keras.Input((5,)), *trained.layers])
    path = tf.train.Checkpoint(model=bare).write(str(tmp_path / "ckpt-3"))
    model, notes = restored(path, "tensor_bundle")
    assert {v.name for v in model.variables}.isdisjoint(differing(model, trained))
    assert len(notes) == 1 and "kept their built values" in notes[0]


def test_a_model_under_another_name(tmp_path: Path, trained: Any) -> None:
    path = tf.train.Checkpoint(net=trained).write(str(tmp_path / "ckpt-3"))
    with pytest.raises(restore.RestoreError, match=r"it holds net, .*restores model, optimizer"):
        restored(path, "tensor_bundle")
    model = network(2)
    given = entry.Case({"model": model, "batch": str, "restore": {"net": model}})
    assert restore.restore(given, state.State(given.restore), path, "tensor_bundle", 3) == []
    assert differing(model, trained) == set()


def test_a_checkpoint_of_an_estimator_is_read_and_not_replayed(tmp_path: Path) -> None:
    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        tf.compat.v1.get_variable("dense/kernel", [2, 2], use_resource=True)
        tf.compat.v1.train.get_or_create_global_step()
        session.run(tf.compat.v1.global_variables_initializer())
        path = tf.compat.v1.train.Saver().save(session, str(tmp_path / "model.ckpt"), 3)
    assert [c.status for c in read(tmp_path).checkpoint_stats] == [CheckpointStatus.CLEAN]
    with pytest.raises(restore.RestoreError, match=r"TensorFlow 1 or an Estimator.*not replayed"):
        restored(path, "tensor_bundle")


def test_a_model_saved_without_its_optimizer(tmp_path: Path, trained: Any) -> None:
    from forensics.replay.worker.case.saved import load_saved

    bare = keras.Sequential([keras.Input((5,)), *trained.layers])
    bare.save(tmp_path / "bare.keras")
    with pytest.raises(entry.CaseError, match="saved without its optimizer"):
        load_saved(str(tmp_path / "bare.keras"))
    model, notes = restored(tmp_path / "bare.keras", "keras_archive")
    assert {v.name for v in model.variables}.isdisjoint(differing(model, trained))
    assert notes == ["bare.keras holds no optimizer state; slots start at zero"]
