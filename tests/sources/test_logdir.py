from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import InputState, Series
from forensics.errors import NothingToAnalyze, SeveralRuns
from forensics.sources.logdir import read
from tests.sources import event_writer as ew

CURVE = [3.0, 2.0, math.nan, math.inf]


def only(path: Path, tag: str = "loss", writer: str = ".") -> Series:
    [found] = [s for s in read(path).series if (s.tag, s.writer) == (tag, writer)]
    return found


def test_a_run_from_its_directory(tmp_path: Path) -> None:
    ew.write(tmp_path / "train", ew.scalars("loss", CURVE), ew.scalars("train/lr", [0.1] * 4))
    ew.write(tmp_path / "validation", ew.scalars("loss", [4.0, 3.0], every=2))
    run = read(tmp_path)
    assert (run.name, run.root) == (tmp_path.name, str(tmp_path))
    assert [(s.writer, s.tag, s.quantity) for s in run.series] == [
        ("train", "loss", Quantity.TRAIN_LOSS),
        ("train", "train/lr", Quantity.LEARNING_RATE),
        ("validation", "loss", Quantity.VALIDATION_LOSS),
    ]
    loss = run.train_loss
    assert loss is not None
    assert loss.steps.tolist() == [0, 1, 2, 3]
    assert np.array_equal(loss.values, CURVE, equal_nan=True)
    assert loss.wall_times.tolist() == [ew.START + i for i in range(4)]
    assert not loss.values.flags.writeable
    assert {i.state for i in run.inputs} == {InputState.COMPLETE}
    assert [i.path.split("/")[0] for i in run.inputs] == ["train", "validation"]
    assert run.warnings == ()


def test_a_run_from_one_event_file(tmp_path: Path) -> None:
    path = ew.write(tmp_path / "train", ew.scalars("loss", CURVE))
    run = read(path)
    assert (run.name, run.root) == (path.name, str(path.parent))
    assert [(s.writer, s.tag) for s in run.series] == [(".", "loss")]
    assert [i.path for i in run.inputs] == [path.name]
    assert read(str(path)).series[0].steps.tolist() == [0, 1, 2, 3]
    renamed = path.rename(path.with_name("ticket-4711.bin"))
    assert read(renamed).series[0].tag == "loss"


def test_restarts_are_kept(tmp_path: Path) -> None:
    ew.write(tmp_path, ew.scalars("loss", [5.0, 4.0, 3.0, 2.0]), number=2)
    ew.write(tmp_path, ew.scalars("loss", [3.5, 2.5], first=2, wall=ew.START + 60), number=10)
    series = only(tmp_path)
    assert series.steps.tolist() == [0, 1, 2, 3, 2, 3]
    assert series.values.tolist() == [5.0, 4.0, 3.0, 2.0, 3.5, 2.5]


def test_permuted_steps_and_session_starts_purge_nothing(tmp_path: Path) -> None:
    order = [3, 1, 0, 2, 1]
    start = ew.record(ew.double_field(1, 1.0) + ew.bytes_field(7, ew.number_field(1, 1)))
    ew.write(tmp_path, *(ew.scalars("loss", [float(i)], first=i) + start for i in order))
    assert only(tmp_path).steps.tolist() == order


def test_clocks_around_zero_make_no_second_writer(tmp_path: Path) -> None:
    for number, tag in enumerate(("one", "other")):
        events = [ew.event(step, [ew.v2(tag, 1.0)], wall) for step, wall in enumerate((-5.0, 5.0))]
        ew.write(tmp_path, *map(ew.record, events), number=number)
    assert {s.writer for s in read(tmp_path).series} == {"."}


def test_two_writers_of_one_directory_are_told_apart(tmp_path: Path) -> None:
    ew.write(tmp_path / "train", ew.scalars("loss", [1.0] * 9), number=1)
    ew.write(tmp_path / "train", ew.scalars("loss", [2.0] * 9, wall=ew.START + 4), number=2)
    ew.write(tmp_path / "train", ew.scalars("other", [2.0] * 9), number=3)
    found = {(s.writer, s.tag): len(s) for s in read(tmp_path).series}
    assert found == {("train", "loss"): 9, ("train#2", "loss"): 9, ("train", "other"): 9}


def test_damage_is_in_the_run(tmp_path: Path) -> None:
    path = ew.write(tmp_path, ew.scalars("loss", [1.0] * 9))
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    run = read(tmp_path)
    assert len(run.series[0]) == 8
    assert [w.kind for w in run.warnings] == ["crc_mismatch"]
    assert [i.state for i in run.inputs] == [InputState.DAMAGED]


def test_a_fifo_beside_the_logs_is_a_warning(tmp_path: Path) -> None:
    ew.write(tmp_path, ew.scalars("loss", CURVE))
    os.mkfifo(tmp_path / "tfevents.fifo")
    run = read(tmp_path)
    assert len(run.series) == 1
    assert [(w.path, w.kind) for w in run.warnings] == [("tfevents.fifo", "denied")]
    assert {i.path: i.state for i in run.inputs}["tfevents.fifo"] is InputState.DENIED


def test_files_without_scalars_are_inputs(tmp_path: Path) -> None:
    ew.write(tmp_path)
    run = read(tmp_path)
    assert run.series == ()
    assert len(run.inputs) == 1


def test_recordings_are_found(tmp_path: Path) -> None:
    (tmp_path / "flight").mkdir()
    (tmp_path / "flight/batch-7.npz").touch()
    assert [(b.path, b.step) for b in read(tmp_path).recordings] == [("flight/batch-7.npz", 7)]


@pytest.mark.parametrize("kind", ["missing", "empty", "without", "text file"])
def test_nothing_to_analyze(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "logs"
    if kind == "text file":
        path.write_text("loss: nan\n" * 100)
    elif kind != "missing":
        path.mkdir()
    if kind == "without":
        (path / "notes.txt").write_text("nothing here")
    with pytest.raises(NothingToAnalyze) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    if kind in ("empty", "without"):
        assert "tfevents" in message


def test_a_denied_directory_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(NothingToAnalyze, match="Permission denied"):
        read(tmp_path)


def test_a_denied_subdirectory_is_an_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ew.write(tmp_path / "train", ew.scalars("loss", CURVE))
    (tmp_path / "secret").mkdir()
    real = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).name == "secret":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr("os.scandir", refuse)
    run = read(tmp_path)
    assert [(w.path, w.kind) for w in run.warnings] == [("secret", "denied")]
    states = {i.path: (i.kind, i.state) for i in run.inputs}
    assert states["secret"] == ("directory", InputState.DENIED)
    assert len(run.series) == 1


def test_independent_runs_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ew.write(tmp_path / name / "train", ew.scalars("loss", CURVE))
        (tmp_path / name / "ckpt-1.index").touch()
    with pytest.raises(SeveralRuns) as caught:
        read(tmp_path)
    assert caught.value.names == ("a", "b")
    assert read(tmp_path / "a").train_loss is not None


def test_an_error_stands_for_a_loss_that_was_not_logged(tmp_path: Path) -> None:
    ew.write(tmp_path, ew.scalars("train/mse", CURVE), ew.scalars("accuracy", [0.5] * 4))
    run = read(tmp_path)
    assert [s.tag for s in run.of(Quantity.TRAIN_LOSS)] == ["train/mse"]
    ew.write(tmp_path, ew.scalars("loss", CURVE), number=1)
    assert [s.tag for s in read(tmp_path).of(Quantity.TRAIN_LOSS)] == ["loss"]


def test_a_negative_norm_is_none(tmp_path: Path) -> None:
    ew.write(
        tmp_path, ew.scalars("grads/fc", [0.1, -0.2]), ew.scalars("grad_norm", [1.0, math.nan])
    )
    found = {s.tag: s.quantity for s in read(tmp_path).series}
    assert found == {"grads/fc": Quantity.OTHER, "grad_norm": Quantity.GRADIENT_NORM}


def test_epochs_and_batches_are_kept_apart(tmp_path: Path) -> None:
    ew.write(
        tmp_path,
        ew.scalars("batch_loss", [3.0, 2.0, 1.0], first=1),
        ew.scalars("epoch_loss", [2.0]),
    )
    run = read(tmp_path)
    axes = {s.tag: (s.step_axis, s.shift, s.steps.tolist()) for s in run.series}
    assert axes == {
        "batch_loss": (StepAxis.BATCH, 1, [0, 1, 2]),
        "epoch_loss": (StepAxis.EPOCH, 0, [0]),
    }
