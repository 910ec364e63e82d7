"""Checkpoints of TensorFlow 2.15 and of its Savers, against what it read back itself."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from forensics.domain.run import CheckpointStats, CheckpointStatus, StepSource, TensorKind
from forensics.sources.checkpoints.object_graph import GRAPH_KEY
from forensics.sources.checkpoints.registry import find_checkpoints, open_checkpoint
from forensics.sources.checkpoints.scan import CheckpointScan, read_checkpoints
from forensics.sources.storage.place import Directory

DATA = Path(__file__).resolve().parents[1] / "data" / "checkpoints" / "tf2_15"
EXPECTED = json.loads((DATA / "expected.json").read_text())
BUNDLES = sorted(EXPECTED)


@pytest.fixture(scope="module")
def scan() -> CheckpointScan:
    return read_checkpoints(Directory(DATA))


def named(scan: CheckpointScan, path: str) -> CheckpointStats:
    return next(c for c in scan.checkpoints if c.path == path)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_names_shapes_dtypes_and_bytes(bundle: str) -> None:
    place = Directory(DATA)
    form, claim = next(
        found for found in find_checkpoints(place.survey().files, place) if found[1].name == bundle
    )
    with open_checkpoint(place, form, claim) as checkpoint:
        stored = {tensor.name: tensor for tensor in checkpoint.stored}
        assert stored.keys() == EXPECTED[bundle].keys() - {GRAPH_KEY}
        for name, tensor in stored.items():
            dtype, shape, digest = EXPECTED[bundle][name]
            assert (tensor.dtype, list(tensor.shape)) == (dtype, shape)
            if tensor.numeric and digest is not None:
                content = b"".join(bytes(piece) for piece in tensor.pieces())
                assert hashlib.sha256(content).hexdigest() == digest, name
        assert checkpoint.contents.warnings == []


def test_an_estimator_counts_its_steps(scan: CheckpointScan) -> None:
    found = named(scan, "estimator/model.ckpt-5")
    assert (found.step, found.step_source) == (5, StepSource.VARIABLE)
    kinds = {tensor.name: tensor.kind for tensor in found.tensors}
    assert kinds["hidden/kernel"] is TensorKind.WEIGHT
    assert kinds["hidden/kernel/Adam_1"] is TensorKind.SLOT
    assert kinds["beta1_power"] is TensorKind.OTHER


def test_keras_2_weights_know_their_optimizer(scan: CheckpointScan) -> None:
    found = named(scan, "keras2/weights")
    assert (found.step, found.step_source) == (2, StepSource.ITERATIONS)
    assert found.config["optimizer"] == "Adam"
    kinds = {tensor.name.split("/.ATTR")[0]: tensor.kind for tensor in found.tensors}
    assert kinds["layer_with_weights-0/kernel"] is TensorKind.WEIGHT
    assert kinds["optimizer/_variables/1"] is TensorKind.SLOT


def test_both_formats_of_a_saver_hold_the_same(scan: CheckpointScan) -> None:
    first, second = (named(scan, f"saver_v{v}/model.ckpt-7") for v in (1, 2))
    assert first.tensors == second.tensors
    assert (first.status, second.status) == (CheckpointStatus.CLEAN, CheckpointStatus.CLEAN)
    assert scan.warnings == ()


def test_a_flipped_bit_in_the_first_format_is_found(tmp_path: Path) -> None:
    whole = (DATA / "saver_v1" / "model.ckpt-7").read_bytes()
    path = tmp_path / "model.ckpt-7"
    path.write_bytes(whole)
    (before,) = read_checkpoints(Directory(tmp_path)).checkpoints
    for at in range(0, len(whole) - 8, 97):
        mutant = bytearray(whole)
        mutant[at] ^= 1 << at % 8
        path.write_bytes(mutant)
        (found,) = read_checkpoints(Directory(tmp_path)).checkpoints
        assert found.status is CheckpointStatus.DAMAGED or found == before
