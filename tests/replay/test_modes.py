"""Failures that one way of executing a step has and another has not, each with its instrument."""

from __future__ import annotations

import pytest

from forensics.domain.replay import Origin, Phase, ReplayResult, ReplayStatus
from tests.replay.replaying import line_of, replay

pytestmark = pytest.mark.tf


def attempts(result: ReplayResult) -> dict[str, tuple[int, int]]:
    """Times reproduced and run by mode."""
    return {a.mode: (a.times_reproduced, a.times_run) for a in result.attempts}


def found(result: ReplayResult, instrument: str) -> Origin:
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    assert result.instrument == instrument, result.reason
    assert result.origin is not None
    return result.origin


def test_a_loop_that_fails_only_as_a_graph_is_named_by_a_dump() -> None:
    result = replay("one_mode_only", "graph_case", failing_step=3)
    origin = found(result, "debug_dump")
    assert attempts(result)["graph"] == (3, 3)
    assert attempts(result)["eager"] == (0, 1)
    assert (origin.op_type, origin.phase, origin.layer) == ("Log", Phase.FORWARD, "net/guarded")
    assert origin.source is not None
    assert origin.source.line == line_of("one_mode_only", "total += tf.math.log")
    assert "iteration 3" in result.reason
    assert result.samples == (2,)
    assert origin.outputs[0].neg_inf == 3 and origin.inputs[0].min == 0
    assert "only the graph mode fails" in result.reason
    assert result.determinism == "bitwise"
    assert result.check_numerics is not None and result.check_numerics.op_type == "Log"
    assert "tf.raw_ops.Log(x=x)" in (result.reproducer_script or "")


@pytest.mark.slow
def test_an_op_that_fails_only_under_xla_is_named_with_what_it_differentiates() -> None:
    result = replay("one_mode_only", "compiled_case", failing_step=3)
    origin = found(result, "compiled_ops")
    assert attempts(result) == {"jit": (3, 3), "graph": (0, 1), "eager": (0, 1)}
    assert (origin.op_type, origin.phase) == ("SqrtGrad", Phase.BACKWARD)
    assert origin.forward_op_type == "Sqrt"
    assert origin.source is not None
    assert origin.source.line == line_of("one_mode_only", "root = tf.sqrt")
    assert result.samples == (2,)
    assert result.chain[-1] == "net/out/kernel"
    # the op is asked, and reproduced, as XLA compiles it
    assert result.whose_bug is not None
    answers = {r.engine: r.finite for r in result.whose_bug.references}
    assert answers["XLA (jit_compile=True)"] is False and answers["eager"] is True
    assert "jit_compile=True" in (result.reproducer_script or "")
    # the numerics check cannot be compiled, and without XLA there is nothing to see
    assert result.check_numerics is None
    assert "it cannot be used with XLA" in result.reason


@pytest.mark.slow
def test_what_xla_rewrites_is_named_with_the_ops_before_it() -> None:
    result = replay("one_mode_only", "fused_case", failing_step=3)
    origin = found(result, "compiled_ops")
    assert attempts(result)["jit"] == (3, 3) and attempts(result)["eager"] == (0, 1)
    assert (origin.op_type, origin.phase) == ("RealDiv", Phase.FORWARD)
    assert origin.source is not None and origin.source.function == "twice_divided"
    assert "compiled together" in result.reason and "RealDiv, RealDiv" in result.reason


@pytest.mark.slow
def test_what_grappler_rewrites_is_told_from_what_the_graph_says() -> None:
    result = replay("one_mode_only", "rewritten_case", failing_step=0)
    origin = found(result, "compiled_ops")
    assert attempts(result) == {
        "graph": (3, 3), "eager": (0, 1), "graph without fused kernels": (0, 1)
    }  # fmt: skip
    assert (origin.op_type, origin.phase) == ("Mul", Phase.FORWARD)
    assert "rewritten or fused by Grappler" in result.reason


@pytest.mark.slow
def test_random_ops_of_a_nested_graph_are_named() -> None:
    result = replay("one_mode_only", "random_graph_case", failing_step=3)
    origin = found(result, "debug_dump")
    assert result.unreplayable_ops == ("RandomStandardNormal",)
    assert origin.op_type == "Log"
    assert origin.source is not None and origin.source.function == "step"


def test_a_function_compiled_earlier_is_looked_into() -> None:
    result = replay("no_program", "kept_case", failing_step=2)
    origin = found(result, "inlined_graph")
    # the logarithm of a masked branch is as bad at a healthy step: a habit
    assert (origin.op_type, origin.phase) == ("Rsqrt", Phase.FORWARD)
    assert origin.source is not None
    assert origin.source.line == line_of("no_program", "tf.math.rsqrt")
    assert result.samples == (3,)
    assert result.check_numerics is not None
    assert result.check_numerics.op_type.startswith("__forward_logs")
    assert "tf.raw_ops.Rsqrt" in (result.reproducer_script or "")
    assert "carries no checks" in result.reason


@pytest.mark.slow
def test_an_op_of_another_thread_is_traced() -> None:
    result = replay("no_program", "threaded_case", failing_step=2)
    origin = found(result, "own_trace")
    assert attempts(result) == {"eager": (3, 3)}
    assert origin.op_type == "Log"
    assert origin.source is not None and origin.source.function == "prepare"
    # which the numerics check does not see: it names what came of it
    assert result.check_numerics is not None and result.check_numerics.op_type == "Sub"
    assert "sees no ops of other threads" in result.reason


@pytest.mark.slow
def test_what_differs_from_the_run_is_said_from_facts() -> None:
    result = replay("not_met", "shuffled_case", failing_step=3)
    assert result.status is ReplayStatus.NOT_REPRODUCED
    said = result.reason[result.reason.index("candidates: ") :]
    assert "dataset= shuffles" in said
    assert "random ops that no snapshot restores: RandomUniform" in said
    assert "the seeds of noisy" in said
    assert "float16 in layer half" in said
    assert "compiled fusion" not in said
    assert "the run's is not recorded, the replay used a CPU" in said


@pytest.mark.slow
def test_without_callbacks_on_ops_a_dump_speaks_and_the_report_says_so() -> None:
    result = replay("no_program", "without_op_callbacks_case", failing_step=2)
    origin = found(result, "debug_dump")
    assert (origin.op_type, origin.phase) == ("Log", Phase.LOSS)
    assert origin.source is not None and origin.source.function == "logs"
    assert result.samples == (3,)
    (said,) = result.degradations
    assert said.startswith("op_callbacks is not in this version")
