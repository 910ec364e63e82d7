"""Runs of which little can be said: nothing logged, nothing telling, only epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from forensics.detectors.scenes import checkpoint, curve, falling, run_of, tensor
from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.replay import ReplayResult, ReplayStatus, StepObservation
from forensics.domain.report import Report
from forensics.domain.run import InputFile, InputState, RecordedBatch, Run
from forensics.errors import NothingToAnalyze, UsageError
from forensics.pipeline import analyze
from forensics.pipeline.analysis import analyze_run
from forensics.pipeline.axis import on_batch_axis
from forensics.pipeline.dating import Date, in_words
from forensics.pipeline.epochs import batches_per_epoch, first_batch_at_least

Validate = Callable[[Mapping[str, object]], None]


def report_of(run: Run, answer: ReplayResult | None = None) -> Report:
    return analyze_run(run, lambda _: None, None if answer is None else lambda _: answer)


def write(path: Path, *events: event_pb2.Event) -> None:
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for event in (event_pb2.Event(wall_time=1.7e9, file_version="brain.Event:2"), *events):
            writer.write(event.SerializeToString())


# -- nothing was logged


def test_a_file_with_a_header_alone_is_nothing_to_analyze(tmp_path: Path) -> None:
    write(tmp_path / "events.out.tfevents.1.host")
    with pytest.raises(NothingToAnalyze, match=r"no event in events\.out\.tfevents\.1\.host"):
        analyze(tmp_path)


def test_an_empty_event_file_is_nothing_to_analyze(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1.host").touch()
    with pytest.raises(NothingToAnalyze):
        analyze(tmp_path)


def test_a_header_that_was_cut_may_have_held_more(tmp_path: Path) -> None:
    path = tmp_path / "events.out.tfevents.1.host"
    write(path)
    path.write_bytes(path.read_bytes()[:-3])
    assert analyze(tmp_path).verdict["status"] == "unreadable"


def test_histograms_without_a_scalar_are_no_damage(
    tmp_path: Path, schema_validator: Validate
) -> None:
    value = summary_pb2.Summary.Value(tag="dense/kernel", histo=summary_pb2.HistogramProto(num=3))
    summary = summary_pb2.Summary(value=[value])
    write(tmp_path / "events.out.tfevents.1.host", event_pb2.Event(step=1, summary=summary))
    report = analyze(tmp_path)
    schema_validator(report.document)
    verdict = report.verdict
    assert (verdict["status"], verdict["cause"]) == ("unreadable", None)
    assert verdict["headline"] == "No scalar was logged and no checkpoint was saved."
    assert [d["cause"] for d in report.document["diagnoses"]] == ["unknown"]


def test_a_recording_alone_is_no_damage() -> None:
    run = Run("run", ".", (), recordings=(RecordedBatch("step-4.npz", 4),))
    assert report_of(run).verdict["cause"] is None


def test_a_damaged_file_is_corrupt_evidence() -> None:
    file = InputFile("events.out", "events", 9, None, InputState.DAMAGED)
    verdict = report_of(Run("run", ".", (), inputs=(file,))).verdict
    assert (verdict["status"], verdict["cause"]) == ("unreadable", "corrupt_evidence")


# -- nothing that could show a failure


def test_a_metric_alone_is_not_healthy(schema_validator: Validate) -> None:
    report = report_of(run_of(curve(falling(40), Quantity.METRIC, "reward")))
    schema_validator(report.document)
    verdict = report.verdict
    assert (verdict["status"], verdict["cause"], verdict["confidence"]) == (
        "unreadable", None, None,
    )  # fmt: skip
    assert verdict["headline"].endswith("could show a failure was recorded: only `reward`.")


@pytest.mark.parametrize(
    "quantity", [Quantity.TRAIN_LOSS, Quantity.VALIDATION_LOSS, Quantity.GRADIENT_NORM]
)
def test_a_loss_or_a_gradient_norm_can_show_a_failure(quantity: Quantity) -> None:
    assert report_of(run_of(curve(falling(40), quantity))).verdict["status"] == "healthy"


def test_a_part_of_a_loss_or_a_checkpoint_can_show_a_failure() -> None:
    part = run_of(curve(falling(40), Quantity.OTHER, "g_loss"))
    saved = run_of(checkpoints=[checkpoint(10, tensor("w"))])
    assert [report_of(r).verdict["status"] for r in (part, saved)] == ["healthy"] * 2


def test_a_step_that_was_observed_can_show_a_failure() -> None:
    run = run_of(curve(falling(40), Quantity.METRIC, "reward"))
    seen = ReplayResult(ReplayStatus.NOT_REPRODUCED, "", observation=StepObservation(0, 1.0))
    assert report_of(run, seen).verdict["status"] == "healthy"


# -- epochs


def epochs_with(*saved: int, values: tuple[float, ...]) -> Run:
    loss = curve(values, tag="epoch_loss", axis=StepAxis.EPOCH)
    return run_of(loss, checkpoints=[checkpoint(s, tensor("w")) for s in saved])


def test_checkpoints_of_every_epoch_tell_its_batches() -> None:
    run = epochs_with(40, 80, 120, 160, values=(1.0, 0.8, 0.6, math.nan))
    assert batches_per_epoch(run) == 40
    document = report_of(run).document
    assert document["verdict"]["first_bad_step_interval"] == [120, 159]
    assert document["last_checkpoint_before_onset"] == "ckpt-120"


def test_where_nothing_tells_the_batches_a_checkpoint_of_a_surely_earlier_epoch_is_offered() -> (
    None
):
    run = epochs_with(40, 80, 120, 160, values=(1.0, 0.8, 0.6, math.nan, math.nan))
    assert batches_per_epoch(run) is None
    document = report_of(run).document
    assert (document["verdict"]["first_bad_step"], document["verdict"]["step_axis"]) == (3, "epoch")
    assert document["last_checkpoint_before_onset"] == "ckpt-80"


@pytest.mark.parametrize("length", [7, 32, 40, 391])
@pytest.mark.parametrize("distance", [10, 40, 100])
def test_the_bound_is_never_after_the_first_batch_of_the_epoch(length: int, distance: int) -> None:
    ended = 6 * length + length // 2
    run = epochs_with(*range(distance, ended + 1, distance), values=(1.0,) * 6)
    for epoch in range(6):
        assert first_batch_at_least(run, epoch) <= epoch * length


def test_checkpoints_numbered_by_epochs_are_compared_with_epochs() -> None:
    run = epochs_with(1, 2, 3, 4, values=(1.0, 0.8, 0.6, math.nan))
    assert report_of(run).document["last_checkpoint_before_onset"] == "ckpt-3"


# -- dates in words, and the curve before the tensor


@pytest.mark.parametrize(
    ("date", "words"),
    [
        (Date(39, (0, 39), StepAxis.BATCH), "by step 39 at the latest (between 0 and 39)"),
        (Date(30, (29, 30), StepAxis.BATCH), "at step 30"),
        (Date(40, (36, 44), StepAxis.BATCH), "between steps 36 and 44"),
        (Date(None, (40, 59), StepAxis.BATCH), "between steps 40 and 59"),
        (Date(3, (3, 3), StepAxis.EPOCH), "in epoch 3"),
        (Date(), ""),
    ],
)
def test_a_date_in_words(date: Date, words: str) -> None:
    assert in_words(date) == words


def test_of_a_curve_and_a_tensor_of_the_same_step_the_curve_is_named() -> None:
    loss = curve([*falling(30), math.nan], tag="batch_loss")
    states = [checkpoint(31, tensor("w", nan=4))]
    verdict = report_of(run_of(loss, checkpoints=states)).verdict
    assert (verdict["first_bad_step"], verdict["first_bad_tag"]) == (30, "batch_loss")


# -- offsets


@pytest.mark.parametrize("offset", [-2, -200, 2**63 - 20])
def test_an_offset_that_leads_nowhere_is_refused(offset: int) -> None:
    with pytest.raises(UsageError, match="step offset"):
        on_batch_axis(run_of(curve(falling(120), start=1)), offset)


def test_an_offset_that_a_checkpoint_cannot_follow_is_refused() -> None:
    run = run_of(curve(falling(20), start=50), checkpoints=[checkpoint(10)])
    with pytest.raises(UsageError, match="makes step 10 negative"):
        on_batch_axis(run, -20)


def test_the_untrained_state_stays_at_0() -> None:
    run = run_of(curve(falling(20), start=1), checkpoints=[checkpoint(0)])
    assert on_batch_axis(run, -1).checkpoint_stats[0].step == 0
