"""SavedModels of three generations of writers: equal to TensorFlow's reader, and never loaded."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from forensics.domain.run import CheckpointFormat, CheckpointStatus, StepSource, TensorKind
from forensics.errors import Damaged
from forensics.sources.checkpoints.farmhash import fingerprint64
from forensics.sources.checkpoints.registry import open_checkpoint
from forensics.sources.checkpoints.saved_model import SavedModel
from forensics.sources.checkpoints.saved_model_file import read_keras_metadata, read_saved_model
from forensics.sources.checkpoints.scan import CheckpointScan, read_checkpoints
from forensics.sources.storage.place import Directory
from tests.sources_checkpoints.encode import message, number

DATA = Path(__file__).resolve().parents[1] / "data" / "saved_models"
WRITERS = ("keras2", "keras3", "estimator")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for name in WRITERS:
        found[name] = tmp_path_factory.mktemp(name)
        with zipfile.ZipFile(DATA / f"{name}.zip") as archive:
            archive.extractall(found[name])
    return found


def copied(root: Path, to: Path) -> Path:
    shutil.copytree(root, to, dirs_exist_ok=True)
    return to


def scan(root: Path) -> CheckpointScan:
    return read_checkpoints(Directory(root))


def names_in(root: Path) -> list[str]:
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


@pytest.mark.parametrize("name", WRITERS)
def test_equals_what_tensorflow_reads(unpacked: dict[str, Path], name: str) -> None:
    root = unpacked[name]
    truth = json.loads((root / "truth.json").read_text())
    place = Directory(root)
    claims = list(SavedModel().find(names_in(root), place))
    assert claims
    for claim in claims:
        with open_checkpoint(place, SavedModel(), claim) as checkpoint:
            found = {
                t.name: {
                    "shape": list(t.shape),
                    "dtype": t.dtype,
                    "sha256": hashlib.sha256(b"".join(t.pieces())).hexdigest(),
                }
                for t in checkpoint.stored
                if t.numeric
            }
            assert found == truth[f"{claim.name}/variables/variables"]
            assert not checkpoint.contents.warnings


def test_a_model_of_keras_2(unpacked: dict[str, Path]) -> None:
    by_path = {c.path: c for c in scan(unpacked["keras2"]).checkpoints}
    assert sorted(by_path) == ["export_2", "model_2"]
    model = by_path["model_2"]
    assert model.format is CheckpointFormat.SAVED_MODEL
    assert model.step == 2
    assert model.status is CheckpointStatus.CLEAN
    assert not model.verifiable
    assert model.config["optimizer"] == "Adam"
    assert model.config["learning_rate"] == pytest.approx(0.002)
    assert model.config["loss"] == "sparse_categorical_crossentropy"
    assert model.config["activations"] == [
        {"layer": "dense", "activation": "relu"},
        {"layer": "dense_1", "activation": "softmax"},
    ]
    kinds = {t.name.split("/")[0] + t.name.split("/")[1][:1]: t.kind for t in model.tensors}
    assert kinds["layer_with_weights-0k"] is TensorKind.WEIGHT
    assert kinds["keras_apim"] is TensorKind.METRIC
    assert {t.kind for t in model.tensors if t.name.startswith("optimizer/_variables/")} == {
        TensorKind.SLOT
    }


def test_models_of_keras_3(unpacked: dict[str, Path]) -> None:
    by_path = {c.path: c for c in scan(unpacked["keras3"]).checkpoints}
    assert by_path["model_2"].config["optimizer"] == "Adam"
    assert by_path["model_2"].step == 2
    # Keras 3 traces under other scopes, so that no layer can be named for certain.
    assert all("activations" not in c.config for c in by_path.values())
    assert {t.kind for t in by_path["export_2"].tensors} == {TensorKind.WEIGHT}


def test_an_export_of_an_estimator(unpacked: dict[str, Path]) -> None:
    found = {c.format: c for c in scan(unpacked["estimator"]).checkpoints}
    export = found[CheckpointFormat.SAVED_MODEL]
    assert (export.step, export.step_source) == (20, StepSource.VARIABLE)
    assert export.config["activations"] == [
        {"layer": "hidden", "activation": "relu"},
        {"layer": "out", "activation": "linear"},
    ]
    assert found[CheckpointFormat.TENSOR_BUNDLE].path == "logs/model.ckpt-20"


def test_variables_that_are_gone(unpacked: dict[str, Path], tmp_path: Path) -> None:
    root = copied(unpacked["keras2"] / "model_2", tmp_path / "m")
    shutil.rmtree(root / "variables")
    result = scan(tmp_path)
    (found,) = result.checkpoints
    assert found.status is CheckpointStatus.DAMAGED
    assert [w.kind for w in result.warnings] == ["missing_index"]


def dimensions(*sizes: int) -> bytes:
    return b"".join(message(2, number(1, size)) for size in sizes)


def test_variables_of_another_model(unpacked: dict[str, Path], tmp_path: Path) -> None:
    """No checksum covers model and variables: shapes that the model does not know are told."""
    root = copied(unpacked["keras2"] / "model_2", tmp_path / "m")
    pb = root / "saved_model.pb"
    data = pb.read_bytes()
    kernel = message(2, dimensions(4, 8)) + number(3, 1)
    assert kernel in data
    pb.write_bytes(data.replace(kernel, message(2, dimensions(8, 4)) + number(3, 1)))
    assert "shape_mismatch" in {w.kind for w in scan(tmp_path).warnings}


def test_variables_of_another_save(unpacked: dict[str, Path], tmp_path: Path) -> None:
    """Sound files that do not belong together: the fingerprint tells."""
    root = copied(unpacked["keras3"] / "export_2", tmp_path / "m")
    other = unpacked["keras2"] / "export_2" / "variables"
    for path in other.iterdir():
        (root / "variables" / path.name).write_bytes(path.read_bytes())
    result = scan(tmp_path)
    assert {w.kind for w in result.warnings} == {"fingerprint_mismatch"}
    assert result.checkpoints[0].status is CheckpointStatus.DAMAGED


@pytest.mark.tf
def test_fingerprints_are_those_of_tensorflow() -> None:
    import tensorflow as tf

    source = random.Random(3)
    data = [source.randbytes(size) for size in [*range(200), 255, 256, 257, 5000]]
    truth = tf.raw_ops.Fingerprint(data=tf.constant(data), method="farmhash64").numpy()
    for item, bits in zip(data, truth, strict=True):
        assert fingerprint64(item) == int.from_bytes(bits.tobytes(), "little"), len(item)


def test_a_model_without_variables_is_no_checkpoint(tmp_path: Path) -> None:
    meta = message(1, message(4, "serve")) + message(2, b"") + message(7, b"")
    (tmp_path / "saved_model.pb").write_bytes(number(1, 1) + message(2, meta))
    result = scan(tmp_path)
    assert not (result.checkpoints or result.warnings or result.inputs)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        number(1, 1),
        number(1, 2) + message(2, b""),
        number(1, 1) + message(2, message(7, message(1, message(1, number(1, 5))))),
        number(1, 1) + b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        number(1, 1) + message(2, message(2, message(1, message(1, b"\xff\xfe")))),
        number(1, 1) + message(2, message(5, message(1, b"\x80"))),
        number(1, 1) + number(2, 4),
    ],
)
def test_hostile_models(data: bytes) -> None:
    with pytest.raises(Damaged):
        read_saved_model(data, "saved_model.pb")


def test_more_nodes_than_any_graph_has() -> None:
    nodes = b"\x0a\x00" * 400_000
    with pytest.raises(Damaged, match="limit"):
        read_saved_model(number(1, 1) + message(2, message(2, nodes)), "saved_model.pb")


def test_metadata_of_keras_2(unpacked: dict[str, Path]) -> None:
    data = (unpacked["keras2"] / "model_2" / "keras_metadata.pb").read_bytes()
    texts = read_keras_metadata(data, "keras_metadata.pb")
    assert json.loads(texts[0])["class_name"] == "Sequential"
    with pytest.raises(Damaged):
        read_keras_metadata(data[:-5], "keras_metadata.pb")


def test_a_broken_model_keeps_its_variables(unpacked: dict[str, Path], tmp_path: Path) -> None:
    root = copied(unpacked["keras2"] / "model_2", tmp_path / "m")
    for name in ("saved_model.pb", "keras_metadata.pb", "fingerprint.pb"):
        path = root / name
        path.write_bytes(path.read_bytes()[:-3])
    result = scan(tmp_path)
    (found,) = result.checkpoints
    assert found.status is CheckpointStatus.DAMAGED
    assert len(found.tensors) == 18
    assert {Path(w.path).name for w in result.warnings} == {
        "saved_model.pb",
        "keras_metadata.pb",
        "fingerprint.pb",
    }


def test_nothing_is_loaded(unpacked: dict[str, Path]) -> None:
    script = (
        "import sys; from forensics.sources.logdir import read\n"
        f"run = read({str(unpacked['estimator'])!r})\n"
        "assert len(run.checkpoint_stats) == 2\n"
        "bad = {'tensorflow', 'keras', 'jax', 'pickle5', 'orbax'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
