"""Whose bug it is and a script that shows it, in programs that are replayed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forensics.domain.replay import Blame, ReplayResult, ReplayStatus
from forensics.replay.request import ReplayOptions
from tests.replay.replaying import replay

pytestmark = pytest.mark.tf


def blamed(result: ReplayResult) -> tuple[Blame, str]:
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    assert result.whose_bug is not None, result.reason
    return result.whose_bug.verdict, result.whose_bug.reason


def test_a_defect_of_a_kernel_is_told_with_a_script_to_file(tmp_path: Path) -> None:
    options = ReplayOptions(reproducer=tmp_path / "out")
    result = replay("single_ops", "probit_case", failing_step=3, options=options)
    if result.status is ReplayStatus.NOT_REPRODUCED:
        pytest.skip("this TensorFlow has mended Erfinv (tensorflow/tensorflow#121502)")
    verdict, reason = blamed(result)
    assert verdict is Blame.FRAMEWORK_DEFECT, reason
    assert "Erfinv should not answer Inf here" in reason
    assert result.whose_bug is not None
    finite = {r.engine: r.finite for r in result.whose_bug.references}
    assert finite["NumPy float64"] and finite["eager"] is False
    # the kernel is no part of oneDNN: switched the other way, its answer is the same
    assert [f for engine, f in finite.items() if "oneDNN" in engine] == [False]
    # the operand is kept to the last digit: a rounded one is 1, whose answer is Inf by right
    assert result.reproducer_script is not None
    assert "x = tf.constant(0.99999994, dtype=tf.float32)" in result.reproducer_script
    assert "x: numbers of the run" in result.reproducer_script.replace("\n            ", " ")
    written = tmp_path / "out" / "reproducer.py"
    assert result.reproducer == str(written)
    assert written.read_text() == result.reproducer_script
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["reproducer.py"]


def test_an_update_in_place_is_reproduced_with_a_variable() -> None:
    result = replay("single_ops", "update_case", failing_step=2)
    verdict, reason = blamed(result)
    assert verdict is Blame.USER, reason
    assert "beyond 3.40282e+38, the largest float32" in reason
    assert result.reproducer is None
    assert result.reproducer_script is not None
    assert "tf.raw_ops.AssignAddVariableOp(resource=resource.handle" in result.reproducer_script


def test_a_bad_batch_has_no_op_and_is_shown_only_where_data_may_be_kept(tmp_path: Path) -> None:
    options = ReplayOptions(reproducer=tmp_path, with_data=True)
    result = replay("single_ops", "batch_case", failing_step=3, options=options)
    verdict, reason = blamed(result)
    assert verdict is Blame.USER
    assert "they are in the batch (x)" in reason
    assert result.reproducer_script is not None and "raw_ops" not in result.reproducer_script
    with np.load(tmp_path / "reproducer.npz") as data:
        assert np.argwhere(np.isnan(data["x"])).tolist() == [[4, 0]]


@pytest.mark.slow
def test_an_op_that_only_the_graph_meets_is_run_on_the_operands_of_the_dump() -> None:
    result = replay("one_mode_only", "graph_case", failing_step=3)
    verdict, reason = blamed(result)
    assert verdict is Blame.USER, reason
    assert result.origin is not None and result.origin.op_type == "Log"
    assert "x float32[6, 3] in [0, " in reason
    assert result.reproducer_script is not None
    assert "outputs = tf.raw_ops.Log(x=x)" in result.reproducer_script


@pytest.mark.slow
def test_an_op_that_only_xla_fails_is_reproduced_under_xla() -> None:
    result = replay("one_mode_only", "compiled_case", failing_step=3)
    verdict, reason = blamed(result)
    assert verdict is Blame.USER, reason
    assert "engines follow different conventions here, finite with: eager" in reason
    assert result.whose_bug is not None
    finite = {r.engine: r.finite for r in result.whose_bug.references}
    assert finite["eager"] and finite["XLA (jit_compile=True)"] is False
    assert result.reproducer_script is not None
    assert "jit_compile=True" in result.reproducer_script
