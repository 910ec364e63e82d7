"""The origin of a failure, in programs whose defect is known: one child process each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forensics.domain.replay import Origin, Phase, ReplayResult, ReplayStatus
from tests.replay.replaying import PROGRAMS, replay, train

pytestmark = pytest.mark.tf

AGAIN = "was reached again from the state that the case builds, for the trials"
"""The checkpoint is too near to the failure for remedies, which need steps before it."""


def line_of(program: str, text: str) -> int:
    lines = (PROGRAMS / f"{program}.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def reproduced(result: ReplayResult, step: int) -> Origin:
    """Return the origin of a failure that was met at a step, every time it was run."""
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    assert result.step == step
    first = result.attempts[0]
    assert first.times_reproduced == first.times_run == 3
    assert result.origin is not None, result.reason
    return result.origin


def test_a_logarithm_of_zero_in_a_custom_loss(tmp_path: Path) -> None:
    checkpoint = train("log_of_zero", tmp_path)
    result = replay("log_of_zero", checkpoint=checkpoint, failing_step=12, interval=(10, 14))
    origin = reproduced(result, 12)
    assert (origin.op_type, origin.phase, origin.layer) == ("Log", Phase.FORWARD, None)
    assert origin.source is not None
    assert origin.source.file == "log_of_zero.py"
    assert origin.source.line == line_of("log_of_zero", "tf.math.log(rate)")
    assert "tf.math.log(rate)" in origin.source.code
    assert result.samples == (5,)
    assert origin.inputs[0].zero == 1
    assert origin.outputs[0].neg_inf == 1
    # the runtime was not started before the program set its threads
    assert result.environment["threads"] == [1, 1]
    assert result.started_from == "ckpt-5"
    assert result.determinism == "bitwise"
    assert result.symptom == "loss"
    assert result.check_numerics is not None and result.check_numerics.op_type == "Log"
    assert result.reason == "step 12 " + AGAIN
    assert result.attempts[0].mode == "graph"
    assert result.chain[0].startswith("Log") and result.chain[-1] == "the differentiated loss"


def test_a_root_that_is_bad_only_in_its_gradient(tmp_path: Path) -> None:
    checkpoint = train("root_of_zero", tmp_path)
    result = replay("root_of_zero", checkpoint=checkpoint, failing_step=7)
    origin = reproduced(result, 6)
    assert (origin.op_type, origin.phase) == ("SqrtGrad", Phase.BACKWARD)
    assert origin.forward_op_type == "Sqrt"
    assert origin.layer is not None and origin.layer.endswith("length")
    assert origin.source is not None
    assert origin.source.line == line_of("root_of_zero", "tf.sqrt(squared)")
    assert result.samples == (2, 7)
    assert result.symptom == "state"
    assert (result.started_from, result.reason) == ("step_000004.weights.h5", "step 6 " + AGAIN)
    assert result.observation is not None
    assert result.observation.loss is not None and np.isfinite(result.observation.loss)
    assert [p.stats.dtype for p in result.observation.batch] == ["float32", "float32"]


def test_a_missing_value_in_one_of_two_inputs(tmp_path: Path) -> None:
    checkpoint = train("missing_value", tmp_path)
    result = replay("missing_value", checkpoint=checkpoint, failing_step=8)
    origin = reproduced(result, 8)
    assert (origin.op_type, origin.phase) == (None, Phase.INPUT)
    assert origin.input is not None
    assert (origin.input.name, origin.input.rows) == ("x/right", (3,))
    assert result.samples == (3,)
    assert result.started_from == "step_000004.keras"
    assert result.reason == (
        "enable_check_numerics names MatMul, not the input x/right: it looks at results of ops, "
        "not at the batch"
    )
    assert result.observation is not None
    assert [p.name for p in result.observation.batch] == ["x/left", "x/right", "y"]
    assert result.observation.batch[1].bad_rows == (3,)


def test_a_label_out_of_range_raises() -> None:
    result = replay("label_out_of_range", failing_step=3)
    origin = reproduced(result, 3)
    assert origin.op_type == "SparseSoftmaxCrossEntropyWithLogits"
    assert origin.phase is Phase.LOSS
    assert origin.raised is not None and "label" in origin.raised.lower()
    assert result.symptom == "raised"
    assert result.started_from is None
    assert "the state that the case builds" in result.reason


def test_a_mask_hides_a_logarithm_from_the_loss_but_not_from_the_gradient() -> None:
    result = replay("masks", "poisoned_case", failing_step=4)
    origin = reproduced(result, 4)
    assert (origin.op_type, origin.phase, origin.forward_op_type) == (
        "Reciprocal",
        Phase.BACKWARD,
        "Log",
    )
    assert origin.source is not None
    assert origin.source.line == line_of("masks", "tf.math.log(amount)")
    assert result.samples == (1, 6)
    assert [b.op_type for b in result.benign] == ["Log"]
    assert result.symptom == "state"


def test_a_causal_mask_is_observed_without_an_origin() -> None:
    # the run is said to have failed at step 3, which the healthy program does not
    result = replay("masks", "healthy_case", failing_step=3)
    assert result.status is ReplayStatus.NOT_REPRODUCED
    assert result.origin is None and result.other_origins == ()
    assert "stayed finite" in result.reason and "candidates:" in result.reason
    assert result.observation is not None
    assert result.observation.loss is not None and np.isfinite(result.observation.loss)
    layers = {layer.name: layer for layer in result.observation.layers}
    assert any(name.endswith("attention") for name in layers)
    assert all(layer.nan == layer.inf == 0 for layer in layers.values())


def test_a_square_overflows_in_the_optimizer_of_a_model_built_by_its_first_step() -> None:
    result = replay("squared_gradient", failing_step=6)
    origin = reproduced(result, 5)
    assert (origin.op_type, origin.phase) == ("Square", Phase.OPTIMIZER)
    assert origin.layer is not None and origin.layer.startswith("net")
    assert origin.source is None
    assert result.symptom == "state"
    assert np.isfinite(origin.inputs[0].max) and origin.outputs[0].pos_inf > 0
    assert result.determinism == "bitwise"
    assert result.observation is not None
    assert {layer.name.split("/")[-1] for layer in result.observation.layers} >= {"hidden", "out"}


def test_half_precision_overflows() -> None:
    result = replay("half_precision", failing_step=4)
    origin = reproduced(result, 4)
    assert (origin.op_type, origin.dtype, origin.phase) == ("Square", "float16", Phase.FORWARD)
    assert result.samples == (6,)
    assert result.attempts[0].mode == "eager"


def test_two_independent_origins_are_both_named() -> None:
    result = replay("two_origins", failing_step=3)
    origin = reproduced(result, 3)
    assert origin.op_type == "Log"
    assert [o.op_type for o in result.other_origins] == ["RealDiv"]
    assert result.samples == (1, 4)
    assert result.culprits == ((4,), (1,))
    assert result.row_notes[1:] == ("first bad at Log: row 4", "first bad at RealDiv: row 1")


def test_a_value_laundered_by_max_pooling_is_traced_to_where_it_was_made() -> None:
    result = replay("laundered", failing_step=5)
    origin = reproduced(result, 4)
    assert origin.op_type == "RealDiv"
    assert origin.layer is not None and origin.layer.endswith("contrast")
    assert origin.source is not None
    assert origin.source.line == line_of("laundered", "/ spread")
    assert result.samples == (2,)
    assert result.other_origins == ()


@pytest.mark.slow
def test_a_batch_of_the_wrong_shape_is_reproduced_with_its_message() -> None:
    result = replay("wrong_shape", "wrong_shape_case", failing_step=3)
    assert result.status is ReplayStatus.REPRODUCED
    assert (result.step, result.symptom) == (3, "raised")
    assert "Matrix size-incompatible" in result.attempts[0].outcome
    assert result.origin is not None
    # where the CPU has fused kernels, the error names the last op that was fused into the product
    assert result.origin.op_type in ("MatMul", "Add")
    assert result.origin.layer == "sequential/out"


@pytest.mark.slow
def test_a_step_that_raises_before_the_run_failed_is_another_failure() -> None:
    result = replay("wrong_shape", "wrong_shape_case", failing_step=9, interval=(8, 9))
    assert result.status is ReplayStatus.NOT_REPRODUCED
    assert "which the run went through" in result.reason


@pytest.mark.slow
def test_the_guard_of_a_program_is_traced_to_what_it_guards_against() -> None:
    result = replay("wrong_shape", "guarded_case", failing_step=3)
    origin = reproduced(result, 3)
    assert origin.op_type == "RealDiv"
    assert origin.raised is not None and "not finite" in origin.raised
    assert result.symptom == "raised"
