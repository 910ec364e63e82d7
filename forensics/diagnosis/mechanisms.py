"""From the op that failed to what that means: the mechanism of a replayed failure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from forensics.detectors.data_scale import max_abs
from forensics.detectors.half_precision import is_half
from forensics.diagnosis.clues import Clue, Sign
from forensics.domain.findings import Finding
from forensics.domain.replay import Blame, Origin, Phase, ReplayResult, ReplayStatus, WhoseBug
from forensics.domain.run import TensorStats
from forensics.domain.scene import Scene

SMALLER_STEPS = (
    "learning_rate_div_10", "learning_rate_div_100", "warm_up", "clip_global_norm", "clip_value",
)  # fmt: skip
"""Remedies that make updates smaller, and change nothing else."""

LOGARITHMS = frozenset({"Log", "Log1p", "Xlogy", "Xlog1py"})
EXPONENTIALS = frozenset({"Exp", "Expm1", "Sinh", "Cosh"})
DIVISIONS = frozenset(
    {"RealDiv", "Div", "TruncateDiv", "FloorDiv", "FloorMod", "Xdivy", "Reciprocal", "Inv"}
)
DOMAIN_OPS = (
    LOGARITHMS
    | EXPONENTIALS
    | DIVISIONS
    | frozenset(
        {"Sqrt", "Rsqrt", "Pow", "Softmax", "LogSoftmax", "Acos", "Acosh", "Asin", "Atanh",
         "Lgamma", "Digamma", "Polygamma", "Zeta", "Erfinv", "Ndtri", "SqrtGrad", "RsqrtGrad",
         "ReciprocalGrad", "InvGrad", "MatrixInverse", "Cholesky", "MatrixDeterminant",
         "LogMatrixDeterminant", "MatrixSolve", "Svd", "Qr", "SelfAdjointEigV2", "Betainc",
         "Igamma", "Igammac", "Tan", "Atan2"}
    )
)  # fmt: skip
"""Ops whose result is not finite for some finite operands of ordinary size."""
GROWTH_OPS = frozenset(
    {"Add", "AddV2", "AddN", "Sub", "Mul", "Square", "SquaredDifference", "MatMul", "BatchMatMul",
     "BatchMatMulV2", "BatchMatMulV3", "_FusedMatMul", "Conv1D", "Conv2D", "Conv3D", "_FusedConv2D",
     "DepthwiseConv2dNative", "Conv2DBackpropInput", "Conv2DBackpropFilter",
     "Conv3DBackpropInputV2", "Conv3DBackpropFilterV2", "BiasAdd", "BiasAddGrad", "Sum", "Mean",
     "Prod", "Cumsum", "L2Loss", "Einsum", "AssignAddVariableOp", "AssignSubVariableOp",
     "UnsortedSegmentSum", "SegmentSum", "SparseTensorDenseMatMul", "Elu", "Selu", "Softplus",
     "Cast"}
)  # fmt: skip
"""Ops that leave the range of the dtype only on operands that are huge already."""
HUGE = 1e12
"""Finite float32 operand from which an overflow counts as growth, no longer as a domain error."""
_COUNTING = ("int", "uint", "bool")
FLOAT32_MAX = 3.4028235e38
FLOAT32_EXPONENT = 88.0
"""Largest x whose exp is finite in float32."""


def replay_clues(scene: Scene, findings: Sequence[Finding]) -> Iterator[Clue]:
    """Clues of a replay: of its first bad op, its batch and its trials."""
    replay = scene.replay
    if replay is None:
        return
    codes = {f.code for f in findings}
    if replay.origin is not None:
        yield from origin_clues(replay.origin, scene, codes)
        yield from _half(replay.origin, codes)
    elif _stayed_finite(replay) and codes & {"NUM001", "NUM002"}:
        yield Clue(
            Sign.NOT_REPRODUCED, f"replayed from `{replay.started_from}`, the steps stay finite"
        )
    grew = replay.symptom == "diverged" or (
        replay.origin is not None
        and is_growth(replay.origin)
        and replay.origin.phase is not Phase.INPUT
    )
    yield from _trials(replay, grew)
    if replay.whose_bug is not None and replay.status is ReplayStatus.REPRODUCED:
        yield from _whose(replay.whose_bug)


def _stayed_finite(replay: ReplayResult) -> bool:
    """Whether a saved state was restored and the steps from it ran without any failure.

    A replay that met another failure, or whose steps could not be run, says nothing of the kind.
    """
    seen = replay.observation
    return (
        replay.status is ReplayStatus.NOT_REPRODUCED
        and replay.started_from is not None
        and replay.symptom is None
        and seen is not None
        and (seen.loss is None or math.isfinite(seen.loss))
    )


def _whose(found: WhoseBug) -> Iterator[Clue]:
    """Say that the op answers wrongly to operands in range; what is the program's says nothing."""
    if found.verdict is Blame.FRAMEWORK_DEFECT:
        yield Clue(
            Sign.KERNEL_WRONG,
            "the op's operands are finite and in range and so is the float64 reference, but not "
            "the kernel's answer",
        )
    elif found.verdict is Blame.HARDWARE_SUSPECTED:
        yield Clue(Sign.KERNEL_UNSTEADY, "the same op answers differently to the same operands")


def origin_clues(found: Origin, scene: Scene, codes: set[str]) -> Iterator[Clue]:
    """Return what the birth place of the first bad value says."""
    if found.phase is Phase.INPUT:
        name = found.input.name if found.input is not None else "the batch"
        support = tuple(sorted(codes & {"DAT001"}))
        yield Clue(Sign.INPUT_NON_FINITE, f"`{name}` of the batch holds NaN or Inf itself", support)
        return
    if found.phase is Phase.STATE:
        yield Clue(Sign.STATE_BAD, "the state was non-finite before the step began")
        return
    if "DAT003" in codes:
        return  # the finding says it, and the op only shows where it was noticed
    if found.raised is not None:
        yield Clue(Sign.RAISED, f"`{found.op_type}` raised: {found.raised[:120]}")
        return
    what = _phrase(found)
    support = tuple(sorted(codes & {"NUM003"}))
    if not is_understood(found):
        return
    if is_growth(found):
        yield from _growth(found, scene, what, support)
    elif found.phase is Phase.OPTIMIZER:
        yield Clue(Sign.DOMAIN_OPTIMIZER, f"{what}, inside the optimizer", support)
    elif found.phase is Phase.BACKWARD and found.layer is None:
        yield Clue(Sign.DOMAIN_BACKWARD, f"{what}, in a gradient outside the layers", support)
    elif found.phase is Phase.LOSS or found.layer is None:
        yield Clue(Sign.DOMAIN_LOSS, f"{what}, in the loss", support)
    else:
        yield Clue(Sign.DOMAIN_LAYER, f"{what}, in layer `{found.layer}`", support)


def _growth(found: Origin, scene: Scene, what: str, support: tuple[str, ...]) -> Iterator[Clue]:
    seen = scene.observation
    if found.phase is Phase.OPTIMIZER:
        yield Clue(Sign.OPTIMIZER_OVERFLOW, f"{what}, while the gradients are finite", support)
    if seen is not None and seen.first_step_of_run:
        yield Clue(Sign.GROWTH_FIRST_STEP, f"{what}, before any update was applied", support)
    elif found.phase is not Phase.OPTIMIZER:
        yield Clue(Sign.GROWTH_LATER, f"{what} on operands that are huge already", support)


def is_understood(found: Origin) -> bool:
    """Whether the origin tells a mechanism.

    An op of ordinary arithmetic whose operands were not recorded may only pass on what was bad.
    """
    settled = found.phase in (Phase.INPUT, Phase.STATE) or found.raised is not None
    twin = found.forward_op_type
    return settled or bool(found.inputs) or bool(DOMAIN_OPS & {found.op_type, twin})


def is_growth(found: Origin) -> bool:
    """Whether an op overflowed because its operands were huge, rather than left its domain.

    A gradient op counts as its forward op. A domain op on huge operands without a zero among them
    overflowed; an op of neither list is judged by its operands alone.
    """
    twin = found.forward_op_type if found.phase is Phase.BACKWARD else None
    if EXPONENTIALS & {found.op_type, twin}:
        return False
    inputs = operands(found)
    if any(t.count == 0 for t in inputs):
        return False
    huge = largest_operand(found) >= (1.0 if is_half(found) else HUGE)
    if DOMAIN_OPS & {found.op_type, twin}:
        divisor = inputs[-1:] if found.op_type in DIVISIONS else inputs
        edge = any(t.zero or t.bad or t.min < 0 for t in divisor)
        return huge and not edge and not is_half(found) and largest_operand(found) >= HUGE
    return found.op_type in GROWTH_OPS or huge


def operands(found: Origin) -> tuple[TensorStats, ...]:
    """Return the inputs that are computed with: no axes, shapes or indices beside real numbers."""
    real = tuple(t for t in found.inputs if not t.dtype.startswith(_COUNTING))
    return real or found.inputs


def largest_operand(found: Origin) -> float:
    """Largest finite magnitude among the operands, 0 when none is recorded."""
    sizes = [max_abs(t) for t in operands(found)]
    return max((s for s in sizes if math.isfinite(s)), default=0.0)


def _half(found: Origin, codes: set[str]) -> Iterator[Clue]:
    """Whether float32 would have survived."""
    if not is_half(found) or found.phase in (Phase.INPUT, Phase.STATE) or found.raised is not None:
        return
    support = tuple(sorted(codes & {"PRC001"}))
    small_exponent = found.op_type in EXPONENTIALS and largest_operand(found) < FLOAT32_EXPONENT
    if is_growth(found) or (small_exponent and found.dtype != "bfloat16"):
        # bfloat16 has the range of float32: there an overflow is growth like any other.
        if found.dtype == "bfloat16" or largest_operand(found) ** 2 > FLOAT32_MAX:
            return
        text = f"`{found.op_type}` passes 65504 on operands that float32 could hold"
        yield Clue(Sign.HALF_RANGE, text, support)
    elif found.op_type in LOGARITHMS and not any(t.min < 0 for t in operands(found)):
        text = f"`{found.op_type}` of 0 in {found.dtype}, which rounds 1 - 1e-7 to 1"
        yield Clue(Sign.HALF_ROUNDING, text, support)
    else:
        yield Clue(Sign.HALF_DOMAIN, f"`{found.op_type}` computes in {found.dtype}", support)


def _trials(replay: ReplayResult, grew: bool) -> Iterator[Clue]:
    outcome = {t.remedy: t.status.value for t in replay.trials}
    if replay.status is not ReplayStatus.REPRODUCED:
        # a run that stays finite: what is asked is whether it learns
        if "fixed" in (outcome.get(remedy) for remedy in SMALLER_STEPS):
            yield Clue(Sign.SMALLER_STEPS_LEARN, "from the same start, smaller steps learn")
        return
    rate, clip = outcome.get("learning_rate_div_10"), outcome.get("clip_global_norm")
    if rate == "fixed" and grew:
        yield Clue(
            Sign.RATE_FIXES_GROWTH, "a tenth of the learning rate survives on the same state"
        )
    elif rate == "delayed" and grew:
        yield Clue(Sign.RATE_DELAYS, "a tenth of the learning rate fails later")
    elif rate == "still_fails":
        yield Clue(Sign.RATE_NO_HELP, "a tenth of the learning rate fails as well")
    if clip == "fixed" and grew:
        yield Clue(Sign.CLIP_FIXES_GROWTH, "clipping the gradients survives on the same state")
    elif clip == "still_fails":
        yield Clue(Sign.CLIP_NO_HELP, "clipping the gradients fails as well")
    if not grew and "fixed" in (rate, clip):
        yield Clue(
            Sign.FIX_BY_CHANCE, "smaller steps avoid the point, the operation stays unsafe there"
        )


def _phrase(found: Origin) -> str:
    twin = f" (gradient of {found.forward_op_type})" if found.forward_op_type else ""
    inputs = operands(found)
    zero = any(t.zero for t in inputs[-1:])
    low = min((t.min for t in inputs if math.isfinite(t.min)), default=math.nan)
    name = f"`{found.op_type}`{twin}"
    if any(t.count == 0 for t in inputs):
        return f"{name} of an empty tensor"
    if found.op_type in DIVISIONS and zero:
        return f"{name} divides by 0"
    if found.op_type in LOGARITHMS and low < 0:
        return f"{name} of {low:.3g}"
    if zero and not is_growth(found):
        return f"{name} meets 0"
    if is_growth(found):
        return f"{name} overflows"
    return f"{name} leaves its domain"
