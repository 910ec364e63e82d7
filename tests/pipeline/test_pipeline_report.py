"""From a run in memory to the finished document."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import pytest

from forensics.detectors.scenes import (
    checkpoint,
    curve,
    falling,
    origin,
    replayed,
    run_of,
    tensor,
)
from forensics.domain.evidence import CurveEvidence
from forensics.domain.findings import Finding, Severity
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.replay import (
    BadInput,
    LayerObservation,
    Phase,
    ReplayResult,
    ReplayStatus,
    SourceLine,
)
from forensics.domain.report import SECTIONS, Report
from forensics.domain.run import ReadWarning, Run, TensorKind
from forensics.domain.scene import Scene
from forensics.pipeline.analysis import analyze_run
from forensics.pipeline.assemble import merged_config
from forensics.pipeline.curves import LONGEST_SPAN, MOST_POINTS, curves
from forensics.pipeline.headline import describe
from forensics.pipeline.target import Target, find_target
from forensics.pipeline.verdict import judge

Validate = Callable[[Mapping[str, object]], None]


def silent(_: str) -> None:
    """Progress that nobody reads."""


def report_of(run: Run, answer: ReplayResult | None = None) -> Report:
    return analyze_run(run, silent, None if answer is None else lambda _: answer)


def failed_run(**found: object) -> Run:
    loss = curve([*falling(30), *[math.nan] * 10], tag="train/loss")
    states = [
        checkpoint(20, tensor("w")),
        checkpoint(10, tensor("w")),
        checkpoint(40, tensor("w", nan=4), tensor("m", TensorKind.SLOT, nan=2)),
    ]
    return run_of(loss, checkpoints=states, **found)  # type: ignore[arg-type]


def division() -> ReplayResult:
    found = origin(
        "RealDiv",
        layer="standardize",
        source=SourceLine("/home/somebody/train.py", 43, "call", "return (x - mean) / std"),
        inputs=(tensor("x", TensorKind.OTHER), tensor("std", TensorKind.OTHER, zero=1, low=0.0)),
        outputs=(tensor("y", TensorKind.OTHER, nan=4),),
    )
    layers = [LayerObservation("dense", kind="Dense", activation_max=3.0, fan_in=4, nan=0, inf=0)]
    answer = replayed(
        failed_run(),
        step=30,
        origin=found,
        layers=layers,
        config={"optimizer": "Adam", "learning_rate": 0.001, "batch_size": 50},
        symptom="loss",
        environment={"tensorflow": "2.21.0"},
    ).replay
    assert answer is not None
    return answer


def test_the_document_has_every_section_and_follows_the_schema(schema_validator: Validate) -> None:
    for answer in (None, division()):
        document = report_of(failed_run(), answer).to_dict()
        assert tuple(document) == SECTIONS
        schema_validator(document)


def test_a_nan_loss_without_a_replay() -> None:
    document = report_of(failed_run()).document
    verdict = document["verdict"]
    assert verdict["status"] == "failed"
    assert (verdict["first_bad_step"], verdict["first_bad_step_interval"]) == (30, [29, 30])
    assert verdict["headline"].startswith("Loss became NaN at step 30")
    assert document["replay"]["status"] == "not_run"
    assert document["replay"]["reason"]
    assert all(v is None for k, v in document["replay"].items() if k not in ("status", "reason"))
    assert document["layers"] is None


def test_the_checkpoint_to_resume_from_is_the_last_clean_one_before_the_first_bad_step() -> None:
    document = report_of(failed_run()).document
    assert document["last_checkpoint_before_onset"] == "ckpt-20"
    assert document["last_finite_checkpoint"] == "ckpt-20"
    assert document["first_poisoned_checkpoint"] == "ckpt-40"
    assert [c["step"] for c in document["checkpoints"]] == [10, 20, 40]
    bad = document["checkpoints"][-1]["bad_tensors"]
    assert [(t["name"], t["kind"], t["nan"]) for t in bad] == [("w", "weight", 4), ("m", "slot", 2)]


def test_a_clean_checkpoint_after_the_first_bad_step_is_not_recommended() -> None:
    loss = curve([*falling(30), *[math.nan] * 10])
    run = run_of(loss, checkpoints=[checkpoint(20, tensor("w")), checkpoint(35, tensor("w"))])
    document = report_of(run).document
    assert document["last_checkpoint_before_onset"] == "ckpt-20"
    assert document["last_finite_checkpoint"] == "ckpt-35"


def test_a_reproduced_failure_names_op_layer_and_line() -> None:
    document = report_of(failed_run(), division()).document
    verdict = document["verdict"]
    assert (verdict["first_bad_step"], verdict["first_bad_step_interval"]) == (30, [30, 30])
    assert verdict["headline"].startswith(
        "Loss became NaN at step 30: RealDiv (0/0) in layer `standardize` (train.py:43)"
    )
    assert verdict["cause"] == "unsafe_operation"
    assert verdict["signature"].startswith("unsafe_operation/RealDiv/standardize/NUM001+NUM002")
    assert document["config"]["optimizer"] == "Adam"
    assert document["config"]["loss"] is None
    assert document["environment"]["replayed"] == {"tensorflow": "2.21.0"}
    assert [layer["name"] for layer in document["layers"]] == ["dense"]
    assert not {"config", "environment", "observation"} & set(document["replay"])


def test_equal_failures_have_equal_signatures() -> None:
    def signature(layer: str) -> str:
        answer = replayed(failed_run(), step=30, origin=origin("Log", layer=layer)).replay
        return str(report_of(failed_run(), answer).verdict["signature"])

    assert signature("block/dense_3") == signature("block/dense_7") != signature("block/head")


def test_a_bad_row_of_the_batch_is_the_headline() -> None:
    found = origin(None, phase=Phase.INPUT, op_name=None, input=BadInput("x", (3, 17)))
    answer = replayed(failed_run(), step=30, origin=found).replay
    headline = report_of(failed_run(), answer).verdict["headline"]
    assert "the batch's `x` (rows 3, 17) already holds NaN or Inf" in headline


def test_poisoned_weights_with_a_finite_loss_fail() -> None:
    run = run_of(
        curve(falling(40)),
        checkpoints=[checkpoint(10, tensor("w")), checkpoint(20, tensor("w", nan=1))],
    )
    verdict = report_of(run).verdict
    assert verdict["status"] == "failed"
    assert verdict["first_bad_step_interval"] == [10, 19]
    assert verdict["headline"].startswith(
        "The weights became NaN by step 19 at the latest (between 10 and 19), though the logged "
        "loss stayed finite"
    )


def test_infinite_gradients_alone_are_dated_and_named() -> None:
    loss = [2.0, 1.5e13, 1.3e16, 1500.0, *falling(40)]
    norms = [0.5, 4e15, math.inf, 1e17, *[0.3] * 40]
    run = run_of(curve(loss), curve(norms, Quantity.GRADIENT_NORM, "train/grad_norm"))
    finding = Finding(
        "NUM001", "non-finite-scalar", Severity.ERROR, "the gradient norm is Inf", 2, (2, 2),
        StepAxis.BATCH, (CurveEvidence("train/grad_norm", 2, 2, StepAxis.BATCH, None, None, ""),),
    )  # fmt: skip
    target = find_target(run, [finding])
    assert (target.symptom, target.step) == ("non_finite", 2)
    verdict = judge(Scene(run), [finding], (), target)
    assert verdict.headline == "The gradients became infinite at step 2."


def test_a_healthy_run_says_what_was_seen() -> None:
    run = run_of(curve(falling(120)), checkpoints=[checkpoint(100, tensor("w"))])
    verdict = report_of(run).verdict
    assert (verdict["status"], verdict["cause"]) == ("healthy", "healthy")
    assert verdict["first_bad_step"] is None
    assert verdict["headline"].startswith("Nothing wrong was found in 120 steps; the loss went")
    assert verdict["signature"] is None


def test_a_replay_of_a_healthy_run_observes_one_step() -> None:
    asked: list[Target] = []

    def observe(target: Target) -> ReplayResult:
        asked.append(target)
        return ReplayResult(ReplayStatus.NOT_REPRODUCED, "no failure to reproduce")

    run = run_of(curve(falling(120)), checkpoints=[checkpoint(100, tensor("w"))])
    report = analyze_run(run, silent, observe)
    assert [t.symptom for t in asked] == ["none"]
    assert report.verdict["status"] == "healthy"
    assert report.document["replay"]["status"] == "not_reproduced"


def test_a_crashed_replay_leaves_the_verdict_of_the_logs() -> None:
    answer = ReplayResult(ReplayStatus.CRASHED, "the process ended without an answer")
    document = report_of(failed_run(), answer).document
    assert document["verdict"]["status"] == "failed"
    assert document["verdict"]["first_bad_step"] == 30
    assert document["replay"]["reason"] == "the process ended without an answer"


def test_nothing_that_could_be_read_is_corrupt_evidence(schema_validator: Validate) -> None:
    warning = ReadWarning("events.out", 0, "crc_mismatch", "the first record is damaged")
    report = report_of(Run("run", ".", (), warnings=(warning,)))
    schema_validator(report.document)
    verdict = report.verdict
    assert (verdict["status"], verdict["cause"]) == ("unreadable", "corrupt_evidence")
    assert "events.out: the first record is damaged" in verdict["headline"]


def test_a_nan_epoch_is_no_batch() -> None:
    run = run_of(curve([1.0, math.nan], tag="epoch_loss", axis=StepAxis.EPOCH))
    verdict = report_of(run).verdict
    assert (verdict["first_bad_step"], verdict["step_axis"]) == (1, "epoch")
    assert verdict["headline"].startswith("Loss became NaN in epoch 1")


def test_what_the_logs_say_of_the_settings_outranks_the_program_of_today() -> None:
    states = [checkpoint(10, tensor("w"))]
    run = run_of(curve(falling(20)), checkpoints=states, config={"learning_rate": 0.1})
    answer = ReplayResult(
        ReplayStatus.NOT_REPRODUCED, "", config={"learning_rate": 0.2, "optimizer": "SGD"}
    )
    merged = merged_config(run, answer)
    assert (merged["learning_rate"], merged["optimizer"]) == (0.1, "SGD")


def test_long_curves_are_thinned_and_no_isolated_nan_is_lost() -> None:
    values = [1.0] * 40_000
    for index in (7, 19_999, 39_998):
        values[index] = math.nan
    (section,) = curves(run_of(curve(values)))
    assert len(section["steps"]) <= MOST_POINTS
    assert [p["step"] for p in section["nonfinite"]] == [7, 19_999, 39_998]


@pytest.mark.parametrize("length", [LONGEST_SPAN, 50 * LONGEST_SPAN])
def test_a_long_dead_end_keeps_both_ends(length: int) -> None:
    (section,) = curves(run_of(curve([1.0, *[math.nan] * length])))
    steps = [p["step"] for p in section["nonfinite"]]
    assert (steps[0], steps[-1], len(steps)) == (1, length, LONGEST_SPAN)


def test_a_mean_of_nothing_is_named() -> None:
    empty = tensor("x", TensorKind.OTHER, shape=(0, 4))
    full = tensor("x", TensorKind.OTHER, shape=(2, 4))
    assert describe(origin("Mean", inputs=(empty,))).startswith("Mean (mean of an empty tensor)")
    assert "empty" not in describe(origin("Mean", inputs=(full,)))
