"""States of a recorder, whole, damaged and hostile, without TensorFlow."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.domain.run import CheckpointFormat, CheckpointStats, CheckpointStatus, TensorKind
from forensics.recorder.files import as_bytes, write_npz
from forensics.sources.checkpoints.scan import read_checkpoints, read_recorded_states
from forensics.sources.storage.place import Directory


def described(role: str, path: str, dtype: str) -> dict[str, Any]:
    return {"owner": "model", "role": role, "place": 0, "path": path, "dtype": dtype}


def state(path: Path, changed: dict[str, Any] | None = None, variables: Any = None) -> Path:
    half = np.array([1.0, 2.0, -4.0], ml_dtypes.bfloat16)
    arrays: dict[str, Any] = {
        "0": np.arange(6, dtype=np.float32).reshape(2, 3),
        "1": half.view(np.uint16),
        "2": np.array(7, np.int64),
        "3": np.array([np.nan, 1.0]),
    }
    listed = [
        described("weight", "fc/kernel", "float32"),
        described("slot", "adam/fc_momentum", "bfloat16"),
        described("slot", "adam/iteration", "int64"),
        described("metric", "loss/total", "float64"),
    ]
    arrays["index"] = as_bytes(
        {"step": 40, "variables": listed if variables is None else variables}
    )
    arrays.update(changed or {})
    path.parent.mkdir(exist_ok=True)
    write_npz(path, arrays)
    return path


def only(root: Path) -> CheckpointStats:
    (checkpoint,) = read_checkpoints(Directory(root)).checkpoints
    return checkpoint


def test_a_state_is_a_checkpoint_of_the_run(tmp_path: Path) -> None:
    state(tmp_path / "flight/state-000000040.npz")
    found = only(tmp_path)
    assert found.path == "flight/state-000000040.npz"
    assert found.format is CheckpointFormat.RECORDED_STATE
    assert found.step == 40
    assert found.status is CheckpointStatus.CLEAN, "a metric is no state of training"
    kernel, momentum, iteration, loss = found.tensors
    assert (kernel.name, kernel.kind, kernel.shape) == ("fc/kernel", TensorKind.WEIGHT, (2, 3))
    assert (kernel.min, kernel.max, kernel.zero) == (0.0, 5.0, 1)
    assert (momentum.dtype, momentum.min, momentum.kind) == ("bfloat16", -4.0, TensorKind.SLOT)
    assert (iteration.max, loss.nan) == (7.0, 1)


def test_a_state_elsewhere_is_read_by_its_folder_and_not_by_chance(tmp_path: Path) -> None:
    state(tmp_path / "ticket/state-000000040.npz")
    assert read_checkpoints(Directory(tmp_path)).checkpoints == ()
    (found,) = read_recorded_states(Directory(tmp_path / "ticket")).checkpoints
    assert (found.path, found.step) == ("state-000000040.npz", 40)


def test_a_bad_weight_poisons_it(tmp_path: Path) -> None:
    bad = {"0": np.array([[1, np.inf, 0], [0, 0, 0]], np.float32)}
    state(tmp_path / "flight/state-000000040.npz", bad)
    assert only(tmp_path).status is CheckpointStatus.POISONED


@pytest.mark.parametrize(
    ("changed", "variables"),
    [
        ({"index": np.zeros(3, np.float32)}, None),
        ({"index": np.frombuffer(b"[1, 2", np.uint8)}, None),
        ({}, [described("weight", "fc/kernel", "float64")]),
        ({}, [described("weight", "fc/kernel", "no_dtype")]),
        ({}, [described("other", "fc/kernel", "float32")]),
        ({}, [described("weight", f"v{i}", "float32") for i in range(9)]),
        ({}, [{"path": "fc"}]),
        ({}, {"fc": 1}),
    ],
)
def test_what_does_not_fit_its_index_is_damaged(
    tmp_path: Path, changed: dict[str, Any], variables: Any
) -> None:
    state(tmp_path / "flight/state-000000040.npz", changed, variables)
    assert only(tmp_path).status is CheckpointStatus.DAMAGED


def test_claims_are_checked_before_anything_is_allocated(tmp_path: Path) -> None:
    path = state(tmp_path / "flight/state-000000040.npz")
    data = path.read_bytes()
    claim = data.replace(b"'shape': (2, 3), ", b"'shape': (9**9,),")
    assert claim != data
    path.write_bytes(claim)
    assert only(tmp_path).status is CheckpointStatus.DAMAGED


@given(seed=st.integers(0, 2**32))
def test_mutants_are_damaged_or_the_same(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Every byte that means something is under a checksum of the archive."""
    rng = random.Random(seed)
    root = tmp_path_factory.mktemp("mutant")
    path = state(root / "flight/state-000000040.npz")
    before = only(root)
    mutant = bytearray(path.read_bytes())
    where = rng.randrange(len(mutant))
    if rng.random() < 0.25:
        del mutant[where:]
    else:
        mutant[where] ^= rng.randrange(1, 256)
    path.write_bytes(mutant)
    after = only(root)
    assert after.status is CheckpointStatus.DAMAGED or repr(after.tensors) == repr(before.tensors)


@pytest.mark.parametrize(
    "text",
    ["[]", '{"weight_map": 3}', '{"weight_map": {"a": [7]}}', '{"weight_map": {"a": "../x.h5"}}'],
)
def test_a_map_of_shards_that_is_none_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.weights.json").write_text(text)
    scan = read_checkpoints(Directory(tmp_path))
    assert [c.status for c in scan.checkpoints] == [CheckpointStatus.DAMAGED]
    assert [w.kind for w in scan.warnings] == ["bad_map"]


def test_a_json_document_of_another_name_is_none(tmp_path: Path) -> None:
    (tmp_path / "weights.json").write_text(json.dumps({"weight_map": {}}))
    assert read_checkpoints(Directory(tmp_path)).checkpoints == ()
