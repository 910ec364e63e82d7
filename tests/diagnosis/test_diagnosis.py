"""Every cause can win on a scene made for it, and the ranking keeps its promises."""

from __future__ import annotations

import math
from typing import Any

import pytest

from forensics.detectors.registry import inspect
from forensics.detectors.scenes import (
    checkpoint,
    curve,
    falling,
    logged,
    origin,
    part,
    replayed,
    run_of,
    tensor,
)
from forensics.diagnosis import diagnose
from forensics.diagnosis.catalogue import CATALOGUE
from forensics.diagnosis.clues import Clue, Sign
from forensics.diagnosis.remedies import REMEDIES
from forensics.diagnosis.variants import EVERYWHERE, belonging
from forensics.diagnosis.weigh import CEILING, FLOOR, weigh
from forensics.domain.diagnosis import Cause, Diagnosis, Grade
from forensics.domain.quantity import Quantity
from forensics.domain.replay import (
    BadInput,
    Blame,
    LayerObservation,
    Phase,
    ReplayStatus,
    Trial,
    TrialStatus,
    WhoseBug,
)
from forensics.domain.run import TensorKind, TensorStats
from forensics.domain.scene import Scene

NAN = math.nan


def answer(scene: Scene) -> tuple[Diagnosis, ...]:
    return diagnose(scene, inspect(scene).findings)


def operand(low: float, high: float, zero: int = 0, dtype: str = "float32") -> TensorStats:
    return tensor("a", TensorKind.OTHER, low=low, high=high, zero=zero, dtype=dtype)


def trial(remedy: str, status: TrialStatus = TrialStatus.FIXED) -> Trial:
    return Trial(remedy, remedy, status, "fails at step 7", 50, 50, 1.0, 0.9, 0)


def broken(n: int = 20) -> Any:
    return run_of(curve([*falling(n), NAN, NAN, NAN]))


def at(n: int = 20, **fields: Any) -> Scene:
    return replayed(broken(n), step=n, **fields)


huge = operand(-3e20, 3e20)
dense = LayerObservation("d0", "Dense", "relu", kernel_std=1.0, fan_in=256)
flat = curve([2.3] * 60)
norms = [
    curve([10.0 ** (2 * d - 12)] * 60, Quantity.GRADIENT_NORM, layer=f"net/d{d}/kernel")
    for d in range(6)
]
dying = [
    curve([1.0, 2.0, *[0.0] * 58], Quantity.GRADIENT_NORM, layer=f"net/r{k}/kernel") for k in (1, 2)
]
living = curve([0.3] * 60, Quantity.GRADIENT_NORM, layer="net/out/bias")
spiked = curve([2.4, 900.0, *[2.3] * 58])
growing = curve([1.0] * 18 + [1e3, 1e5, 1e9, NAN, NAN], Quantity.GRADIENT_NORM)
slot = tensor("optimizer/v", TensorKind.SLOT, pos_inf=2)

SCENES: list[tuple[str, Scene, Cause]] = [
    (
        "NaN in the batch",
        at(origin=origin(None, phase=Phase.INPUT, input=BadInput("x", (3,)))),
        Cause.NON_FINITE_DATA,
    ),
    (
        "0/0 in a layer",
        at(origin=origin("RealDiv", layer="norm", inputs=(operand(0, 1), operand(0, 0, 4)))),
        Cause.UNSAFE_OPERATION,
    ),
    (
        "root of 0 in the backward pass",
        at(origin=origin("SqrtGrad", layer="norm", phase=Phase.BACKWARD, forward_op_type="Sqrt")),
        Cause.UNSAFE_OPERATION,
    ),
    (
        "masked branch in a loop",
        at(
            origin=origin(
                "Reciprocal",
                phase=Phase.BACKWARD,
                forward_op_type="Log",
                inputs=(operand(0, 1, 1),),
            )
        ),
        Cause.UNSAFE_OPERATION,
    ),
    (
        "softmax of a fully masked row",
        at(origin=origin("Softmax", layer="attn", inputs=(tensor("s", neg_inf=4),))),
        Cause.UNSAFE_OPERATION,
    ),
    (
        "log of 0 in a loop",
        at(origin=origin("Log", inputs=(operand(0, 1, 1),))),
        Cause.UNSTABLE_LOSS,
    ),
    (
        "mean of nothing in a compiled loss",
        at(origin=origin("Mean", phase=Phase.LOSS, inputs=(tensor("e", shape=(0,)),))),
        Cause.UNSTABLE_LOSS,
    ),
    (
        "log of 0 that smaller steps avoid",
        at(
            origin=origin("Log", inputs=(operand(0, 1, 1),)),
            trials=(trial("learning_rate_div_10"),),
        ),
        Cause.UNSTABLE_LOSS,
    ),
    (
        "log of a tanh",
        at(origin=origin("Log", inputs=(operand(-0.9, 0.9),)), config={"last_activation": "tanh"}),
        Cause.LOSS_ACTIVATION_MISMATCH,
    ),
    (
        "cross-entropy of a rectified output",
        at(
            origin=origin("RealDiv", phase=Phase.LOSS, inputs=(operand(0, 1), operand(0, 1, 1))),
            config={
                "loss": "categorical_crossentropy",
                "last_activation": "relu",
                "from_logits": False,
            },
        ),
        Cause.LOSS_ACTIVATION_MISMATCH,
    ),
    (
        "overflow in float16",
        at(origin=origin("Conv2D", layer="c", dtype="float16", inputs=(operand(-9e3, 9e3),))),
        Cause.PRECISION_OVERFLOW,
    ),
    (
        "log(1 - p) in float16",
        at(
            origin=origin(
                "Log", phase=Phase.LOSS, dtype="float16", inputs=(operand(0, 1, 1, "float16"),)
            )
        ),
        Cause.PRECISION_OVERFLOW,
    ),
    (
        "exp(12) in float16",
        at(origin=origin("Exp", layer="e", dtype="float16", inputs=(operand(0, 12),))),
        Cause.PRECISION_OVERFLOW,
    ),
    (
        "overflow after growth that a smaller rate survives",
        at(
            origin=origin("Square", phase=Phase.LOSS, inputs=(huge,)),
            trials=(trial("learning_rate_div_10"), trial("clip_global_norm")),
        ),
        Cause.LEARNING_RATE_TOO_HIGH,
    ),
    (
        "overflow after growth that only clipping survives",
        at(
            origin=origin("MatMul", layer="d", inputs=(huge,)),
            trials=(
                trial("learning_rate_div_10", TrialStatus.STILL_FAILS),
                trial("clip_global_norm"),
            ),
        ),
        Cause.EXPLODING_GRADIENTS,
    ),
    (
        "overflow in the first step with wide kernels",
        replayed(
            run_of(curve([math.inf, NAN, NAN])),
            step=0,
            first=True,
            layers=[dense, dense],
            origin=origin("Sum", phase=Phase.LOSS, inputs=(huge,)),
        ),
        Cause.BAD_INITIALIZATION,
    ),
    (
        "an outlier among the targets",
        at(
            origin=origin("SquaredDifference", phase=Phase.LOSS, inputs=(huge,)),
            batch=[part("y", largest=3e20, usual_max_abs=60.0)],
        ),
        Cause.DATA_SCALE,
    ),
    (
        "columns that are not normalised",
        replayed(
            run_of(curve(falling(60, 5e4, 40.0)), curve([0.4] * 60, Quantity.METRIC, "accuracy")),
            batch=[part("x", largest=4e5, usual_max_abs=4e5, column_spread=2e5)],
            status=ReplayStatus.NOT_REPRODUCED,
        ),
        Cause.DATA_SCALE,
    ),
    (
        "a label out of range",
        at(
            origin=origin(
                "SparseSoftmaxCrossEntropyWithLogits",
                raised="Received a label value of 7 which is outside the valid range of [0, 7)",
            )
        ),
        Cause.LABEL_OUT_OF_RANGE,
    ),
    (
        "a second moment that overflows",
        replayed(
            run_of(
                *broken().series, checkpoints=[checkpoint(10), checkpoint(20, tensor("w"), slot)]
            ),
            step=19,
            origin=origin("Square", phase=Phase.OPTIMIZER, inputs=(huge,)),
        ),
        Cause.OPTIMIZER_STATE,
    ),
    (
        "an epsilon of 0",
        at(
            origin=origin(
                "RealDiv", phase=Phase.OPTIMIZER, inputs=(operand(0, 1), operand(0, 1, 3))
            )
        ),
        Cause.OPTIMIZER_STATE,
    ),
    (
        "weights that were bad before the first step",
        logged(curve([NAN] * 5), checkpoints=[checkpoint(0, tensor("w", nan=4))]),
        Cause.POISONED_START,
    ),
    (
        "a kernel that is wrong",
        at(
            origin=origin("Erfinv", inputs=(operand(-1, 1),)),
            whose_bug=WhoseBug(Blame.FRAMEWORK_DEFECT, "Erfinv should not answer Inf here"),
        ),
        Cause.FRAMEWORK_DEFECT,
    ),
    (
        "a kernel that answers now this, now that",
        at(
            origin=origin("RealDiv", inputs=(operand(-1, 1), operand(1, 2))),
            whose_bug=WhoseBug(Blame.HARDWARE_SUSPECTED, "3 of 6 runs answered otherwise"),
        ),
        Cause.HARDWARE_SUSPECTED,
    ),
    (
        "an op that does what it documents",
        at(
            origin=origin("Erfinv", inputs=(operand(-1, 1),)),
            whose_bug=WhoseBug(Blame.USER, "no finite answer exists"),
        ),
        Cause.UNSTABLE_LOSS,
    ),
    ("vanishing gradients", logged(flat, *norms), Cause.VANISHING_GRADIENTS),
    ("dead without a spike", logged(flat, *dying, living), Cause.DEAD_UNITS),
    ("dead after a spike", logged(spiked, *dying, living), Cause.LEARNING_RATE_TOO_HIGH),
    (
        "a rate that rose before the loss diverged",
        logged(
            curve([*falling(60), *[0.5 * 4.0**k for k in range(1, 20)]]),
            curve([0.01 * 1.1**k for k in range(79)], Quantity.LEARNING_RATE),
        ),
        Cause.LEARNING_RATE_TOO_HIGH,
    ),
    (
        "gradients that grow until NaN",
        logged(curve([*falling(21), NAN, NAN]), growing),
        Cause.EXPLODING_GRADIENTS,
    ),
    (
        "one jump out of calm",
        logged(
            curve([*falling(21), math.inf, NAN]),
            curve([1.0] * 21 + [1e19, NAN], Quantity.GRADIENT_NORM),
        ),
        Cause.DATA_SCALE,
    ),
    (
        "a loss that stops at once",
        logged(curve([*[math.exp(1.5 - k / 100) for k in range(150)], *[1.0] * 150])),
        Cause.PLATEAU,
    ),
    (
        "saturated hidden layers",
        replayed(
            run_of(flat),
            status=ReplayStatus.NOT_REPRODUCED,
            layers=[
                LayerObservation("h", "Dense", "tanh", saturated_fraction=0.99),
                LayerObservation("out", "Dense", None),
            ],
        ),
        Cause.SATURATED_ACTIVATIONS,
    ),
    (
        "a rate too small to move",
        logged(flat, curve([1e-8] * 60, Quantity.LEARNING_RATE)),
        Cause.LEARNING_RATE_TOO_LOW,
    ),
    ("a NaN out of the blue", logged(*broken().series), Cause.UNSAFE_OPERATION),
    ("a healthy run", logged(curve(falling(80))), Cause.HEALTHY),
    ("a NaN loss and nothing else", logged(curve([NAN, NAN])), Cause.UNKNOWN),
]


@pytest.mark.parametrize(("scene", "cause"), [s[1:] for s in SCENES], ids=[s[0] for s in SCENES])
def test_the_cause_wins(scene: Scene, cause: Cause) -> None:
    found = answer(scene)
    assert found[0].cause is cause, [(d.cause, d.confidence) for d in found]


@pytest.mark.parametrize("scene", [s[1] for s in SCENES], ids=[s[0] for s in SCENES])
def test_the_ranking_keeps_its_promises(scene: Scene) -> None:
    findings = inspect(scene).findings
    found = diagnose(scene, findings)
    codes = {f.code for f in findings}
    named = [d for d in found if d.cause is not Cause.UNKNOWN]
    assert len({d.cause for d in found}) == len(found)
    assert [d.confidence for d in named] == sorted((d.confidence for d in named), reverse=True)
    assert all(0 < d.confidence <= CEILING for d in found)
    assert sum(d.confidence for d in found) <= 1.01
    assert all(set(d.supporting) | set(d.contradicting) <= codes for d in found)
    assert all(d.confidence_basis is None for d in found)
    assert found[0].cause is Cause.UNKNOWN or found[0].confidence >= FLOOR
    assert all(d.summary.endswith(".") and "\n" not in d.summary for d in found)


def test_every_named_cause_has_a_scene() -> None:
    wanted = {
        Cause.EXPLODING_GRADIENTS, Cause.VANISHING_GRADIENTS, Cause.LEARNING_RATE_TOO_HIGH,
        Cause.UNSTABLE_LOSS, Cause.UNSAFE_OPERATION, Cause.NON_FINITE_DATA, Cause.DATA_SCALE,
        Cause.LABEL_OUT_OF_RANGE, Cause.BAD_INITIALIZATION, Cause.PRECISION_OVERFLOW,
        Cause.LOSS_ACTIVATION_MISMATCH, Cause.DEAD_UNITS, Cause.OPTIMIZER_STATE,
        Cause.POISONED_START, Cause.PLATEAU, Cause.HEALTHY, Cause.UNKNOWN,
        Cause.FRAMEWORK_DEFECT, Cause.HARDWARE_SUSPECTED,
    }  # fmt: skip
    assert wanted <= {s[2] for s in SCENES}


def test_the_catalogue_is_complete() -> None:
    assert set(CATALOGUE) == set(Cause)
    assert sum(e.prior for e in CATALOGUE.values()) == pytest.approx(1.0, abs=0.05)
    listed = {r for e in CATALOGUE.values() for r in e.remedies}
    assert listed | set(belonging(listed)) | set(EVERYWHERE) == set(REMEDIES)
    weighed = {s for e in CATALOGUE.values() for s, w in e.weights.items() if w}
    assert weighed == set(Sign)


def test_the_replay_outranks_the_logs() -> None:
    """Gradients that grow speak for an explosion, unless the replay finds NaN in the batch."""
    run = run_of(curve([*falling(21), NAN, NAN]), growing)
    before = answer(Scene(run))
    found = origin(None, phase=Phase.INPUT, input=BadInput("y", (1,)))
    after = answer(replayed(run, step=21, origin=found))
    assert before[0].cause is Cause.EXPLODING_GRADIENTS
    assert after[0].cause is Cause.NON_FINITE_DATA
    assert "GRD001" not in after[0].supporting


def test_grades_say_how_it_is_known() -> None:
    overflow = origin("Square", phase=Phase.LOSS, inputs=(huge,))
    fixed = answer(at(origin=overflow, trials=(trial("learning_rate_div_10"),)))
    assert fixed[0].grade is Grade.FIX_VERIFIED
    assert fixed[0].remedies[0].remedy == "learning_rate_div_10"
    assert fixed[0].remedies[0].trial == "fixed"
    # A fix that belongs to another cause verifies nothing.
    zero = origin("Log", inputs=(operand(0, 1, 1),))
    assert answer(at(origin=zero, trials=(trial("clip_global_norm"),)))[0].grade is Grade.REPRODUCED
    saved = [checkpoint(5), checkpoint(20, tensor("w"), slot)]
    poisoned = answer(logged(curve(falling(30)), checkpoints=saved))
    assert poisoned[0].cause is Cause.OPTIMIZER_STATE
    assert poisoned[0].grade is Grade.OBSERVED_IN_CHECKPOINT
    assert answer(logged(flat, *norms))[0].grade is Grade.OBSERVED_IN_LOGS


def test_the_next_check_names_the_rival() -> None:
    found = answer(at(origin=origin("Log", inputs=(operand(0, 1, 1),))))
    assert found[1].cause is Cause.UNSAFE_OPERATION
    assert found[0].next_check is not None
    assert "unsafe operation" in found[0].next_check


def test_bfloat16_overflow_is_growth_not_precision() -> None:
    found = origin("MatMul", layer="d", dtype="bfloat16", inputs=(huge,))
    assert answer(at(origin=found))[0].cause is not Cause.PRECISION_OVERFLOW


def test_nothing_speaks_for_nothing() -> None:
    assert weigh(())[0].cause is Cause.UNKNOWN
    sure = weigh([Clue(Sign.INPUT_NON_FINITE, "x holds NaN"), Clue(Sign.SUDDEN, "calm")])
    assert sure[0].cause is Cause.NON_FINITE_DATA
    assert sure[0].confidence <= CEILING


def test_the_first_remedy_is_the_safe_form_of_the_op() -> None:
    found = answer(at(origin=origin("RealDiv", layer="d", inputs=(operand(0, 1, 1),))))
    slugs = [r.remedy for r in found[0].remedies]
    assert slugs[0] == "safe_division"
    assert not {"safe_sqrt", "safe_log"} & set(slugs)
