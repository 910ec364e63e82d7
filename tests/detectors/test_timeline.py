"""Change points, lead indicators, and readings of odd curves."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from forensics.detectors.curves import failure, is_loss
from forensics.detectors.layers_of import improvement, layer_gradients, layer_name
from forensics.detectors.registry import inspect
from forensics.detectors.scenes import checkpoint, curve, falling, logged, run_of, tensor
from forensics.detectors.timeline import change_points, lead_indicators
from forensics.diagnosis import diagnose
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import TensorKind

NAN = math.nan


def test_a_blow_up_and_the_nan_after_it_are_both_dated() -> None:
    rising = [0.5 * 3.0 ** (k + 1) for k in range(12)]
    run = run_of(curve([*falling(80, noise=0.01), *rising, NAN, NAN]))
    points = change_points(run)
    assert [(p.kind, p.step) for p in points if p.kind == "non_finite"] == [("non_finite", 92)]
    assert any(p.kind != "non_finite" and 78 <= p.step <= 84 for p in points)


def test_a_healthy_run_has_no_change_points() -> None:
    assert change_points(run_of(curve(falling(200)))) == ()


def test_the_gradient_leads_the_loss() -> None:
    norm = curve([1.0, 1.1] * 20 + [10.0, 40.0, 300.0, 5000.0], Quantity.GRADIENT_NORM)
    run = run_of(curve([*falling(44), NAN]), norm)
    assert [(i.tag, i.step, i.steps_before_failure) for i in lead_indicators(run, 44)] == [
        ("gradient_norm", 40, 4)
    ]


def test_a_rise_that_came_back_leads_nothing() -> None:
    norm = curve([1.0] * 30 + [500.0] * 5 + [1.0] * 9, Quantity.GRADIENT_NORM)
    assert lead_indicators(run_of(curve(falling(44)), norm), 44) == ()


def test_parts_of_a_loss_are_losses() -> None:
    tags = {
        "g_loss": True, "train/kl_loss": True, "loss_scale": False, "accuracy": False,
        "model/nll": True, "loss_weight": False,
    }  # fmt: skip
    for tag, expected in tags.items():
        assert is_loss(curve([1.0], Quantity.METRIC, tag)) is expected, tag


def test_the_earliest_failure_counts_and_batches_before_epochs() -> None:
    epochs = curve([1.0, NAN], tag="epoch_loss", axis=StepAxis.EPOCH)
    assert failure(run_of(epochs)).axis is StepAxis.EPOCH  # type: ignore[union-attr]
    both = failure(run_of(epochs, curve([*falling(30), NAN])))
    assert both is not None
    assert (both.step, both.axis) == (30, StepAxis.BATCH)
    saved = [checkpoint(10), checkpoint(20, tensor("w", nan=1))]
    early = failure(run_of(curve([*falling(30), NAN]), checkpoints=saved))
    assert early is not None
    assert (early.step, early.interval, early.kind) == (19, (10, 19), "state")


def test_kernel_and_bias_are_one_layer() -> None:
    assert layer_name("net/dense/kernel:0") == "net/dense"
    assert layer_name("encoder") == "encoder"
    parts = [
        curve([a, a], Quantity.GRADIENT_NORM, layer=f"net/{name}")
        for name, a in (("k/kernel", 0.1), ("k/bias", 1e-12), ("v/kernel", 0.3))
    ]
    _, layers = layer_gradients(run_of(*parts))
    assert {name: float(v[0]) for name, v in layers.items()} == {"net/k": 0.1, "net/v": 0.3}


def test_improvement() -> None:
    assert improvement(np.array([2.0] * 3 + [1.0] * 3)) == 0.5
    assert improvement(np.array([1.0] * 9)) == 0.0
    assert math.isnan(improvement(np.array([1.0, NAN])))


number = st.one_of(
    st.floats(width=32), st.sampled_from([0.0, -0.0, 1e38, -1e38, NAN, math.inf, -math.inf])
)
values = st.lists(number, max_size=40)


@settings(max_examples=150, deadline=None)
@given(
    loss=values,
    norm=values,
    layer=values,
    rate=values,
    start=st.integers(0, 10**9),
    bad=st.integers(0, 2),
    step=st.one_of(st.none(), st.integers(0, 50)),
)
def test_whatever_was_logged_there_is_an_answer(
    loss: list[float],
    norm: list[float],
    layer: list[float],
    rate: list[float],
    start: int,
    bad: int,
    step: int | None,
) -> None:
    slot = tensor("v", TensorKind.SLOT, pos_inf=bad)
    scene = logged(
        curve(loss, start=start),
        curve(norm, Quantity.GRADIENT_NORM, start=start),
        curve(layer, Quantity.GRADIENT_NORM, layer="a/kernel"),
        curve(layer[::-1], Quantity.GRADIENT_NORM, layer="b/kernel"),
        curve(rate, Quantity.LEARNING_RATE, start=start),
        curve(norm, Quantity.METRIC, "accuracy"),
        checkpoints=[checkpoint(step, slot)],
    )
    seen = inspect(scene)
    for found in seen.findings:
        low, high = found.onset_interval or (0, 0)
        assert low <= high
    answer = diagnose(scene, seen.findings)
    assert answer
    change_points(scene.run)
    lead_indicators(scene.run, start + 20)
