"""A SavedModel with a function that trains: no program, one batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from forensics.domain.replay import Phase, ReplayResult, ReplayStatus
from forensics.domain.run import Run
from forensics.replay.request import ReplayOptions, ReplayRequest
from forensics.replay.runner import run_replay
from forensics.replay.worker.case.entry import CaseError
from forensics.replay.worker.case.saved_model import saved_model_case
from tests.replay.replaying import PROGRAMS

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with two SavedModels and two batches."""
    made = tmp_path_factory.mktemp("saved")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    program = str(PROGRAMS / "saved_training.py")
    subprocess.run([sys.executable, program, str(made)], env=environment, check=True)
    return made


def replayed(folder: Path, batch: str) -> ReplayResult:
    request = ReplayRequest(
        Run("saved", "/nowhere", (), ()),
        str(folder / "model"),
        device="cpu",
        timeout=240.0,
        failing_step=0,
        symptom="non_finite",
        options=ReplayOptions(batch=folder / f"{batch}.npz", trials=False),
    )
    return run_replay(request, lambda line: None)


def test_the_op_is_named_within_the_loop_of_a_function_without_its_program(folder: Path) -> None:
    result = replayed(folder, "bad")
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    assert (result.source, result.instrument) == ("saved_model", "inlined_graph")
    origin = result.origin
    assert origin is not None
    assert (origin.op_type, origin.phase, origin.dtype) == ("Log", Phase.FORWARD, "float32")
    assert result.samples == (4,)
    assert "(iteration 1)" in result.reason
    assert origin.inputs[0].min < 0 and origin.outputs[0].nan == 1
    # it notices only what the whole call answers
    assert result.check_numerics is not None
    assert result.check_numerics.op_type.startswith("__inference")
    assert [a.mode for a in result.attempts] == ["graph"]


def test_functions_are_chosen_and_batches_are_refused(folder: Path) -> None:
    good = {"x": np.ones((2, 3), np.float32) * 2, "y": np.ones((2, 1), np.float32)}
    case = saved_model_case(str(folder / "model"), good)
    before = [v.numpy().copy() for v in (case.owner.kernel, case.owner.momentum)]
    loss = case.step(case.batch(0))["loss"]
    assert np.isfinite(loss) and case.batch(1) is None
    assert not np.array_equal(case.owner.momentum.numpy(), before[1])
    assert case.step.name == "fit" and "dense" in case.layer_names
    with pytest.raises(CaseError, match=r"no function .* changes a variable \(it has: serve"):
        saved_model_case(str(folder / "served"), good)
    with pytest.raises(CaseError, match="takes x, y, the batch holds only"):
        saved_model_case(str(folder / "model"), {"only": np.ones(3)})
    renamed = {"a": np.ones((2, 3), np.int64), "b": np.ones((2, 1))}
    taken = saved_model_case(str(folder / "model"), renamed).batch(0)
    assert sorted(taken) == ["x", "y"] and taken["x"].dtype == "float32"
    with pytest.raises(CaseError, match="does not fit fit"):
        saved_model_case(str(folder / "model"), {"x": np.array(["a"]), "y": np.ones(1)})
