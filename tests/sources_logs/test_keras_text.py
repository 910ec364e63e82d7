"""What `fit` prints: recordings of Keras 2 and 3, and every form of the lines."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from forensics.domain.quantity import Fidelity, Quantity, StepAxis
from forensics.sources.logdir import read
from tests.data.logs import record_keras_facts as facts
from tests.sources_logs.logs_of import DATA, first_bad, points, run_of, series

RECORDED = [
    f"keras{version}_{kind}.out"
    for version in (2, 3)
    for kind in ("verbose1", "verbose2", "terminated", "unknown")
]


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_epochs_are_those_of_the_history(name: str) -> None:
    run = read(DATA / name)
    with (DATA / f"{name[:6]}_history.json").open() as file:
        history = json.load(file)
    for tag, values in history.items():
        found = series(run, tag)
        assert found.step_axis is StepAxis.EPOCH
        assert found.fidelity is Fidelity.PRINTED
        count = len(found)
        assert found.steps.tolist() == list(range(count))
        assert count == (3 if "terminated" in name else facts.EPOCHS)
        epochs = slice(None, 2 if "terminated" in name else None)
        np.testing.assert_allclose(found.values[epochs], values[:count][epochs], atol=5.1e-5)
    assert run.config["steps_per_epoch"] == facts.BATCHES


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_failure_is_in_the_interval(name: str) -> None:
    loss = series(read(DATA / name), "loss (running mean)")
    assert loss.quantity is Quantity.TRAIN_LOSS
    assert loss.step_axis is StepAxis.BATCH
    bad = first_bad(loss)
    before = loss.steps[loss.steps < bad].max()
    assert before < facts.BAD <= bad
    assert bad < 3 * facts.BATCHES


@pytest.mark.parametrize("version", [2, 3])
def test_terminate_on_nan_tells_the_batch(version: int) -> None:
    loss = series(read(DATA / f"keras{version}_terminated.out"), "loss (running mean)")
    assert first_bad(loss) == facts.BAD
    assert loss.watched


@pytest.mark.parametrize("version", [2, 3])
def test_one_epoch_has_no_header_and_is_read(version: int) -> None:
    run = read(DATA / f"keras{version}_one_epoch.out")
    assert [s for s, _ in points(run, "val_loss")] == [0]
    assert series(run, "loss (running mean)").steps.max() == facts.BATCHES - 1


@pytest.mark.parametrize("version", [2, 3])
def test_csv_logger_gives_what_the_history_holds(version: int) -> None:
    run = read(DATA / f"keras{version}_logger.csv")
    with (DATA / f"keras{version}_logger.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    loss = series(run, "loss")
    assert loss.fidelity is Fidelity.RECORD
    assert loss.step_axis is StepAxis.EPOCH
    np.testing.assert_array_equal(loss.values, [float(row["loss"]) for row in rows])


def bar(done: int, total: int | str, **values: float | str) -> str:
    shown = "".join(f" - {k}: {v if isinstance(v, str) else f'{v:.4f}'}" for k, v in values.items())
    return f"\r {done}/{total} [====>....] - ETA: 1s{shown}"


def test_wrapped_numbers_and_scientific_ones(tmp_path: Path) -> None:
    text = "Epoch 1/2\n" + bar(1, 3, loss="1.2000e+05") + bar(3, 3, loss="5.0000e-04") + "\n"
    run = run_of(tmp_path, {"a.out": text + "Epoch 2/2\n"})
    assert points(run, "loss (running mean)") == [(0, 1.2e5), (2, 5e-4)]
    assert points(run, "loss") == [(0, 5e-4)]


def test_an_interrupted_epoch_has_no_value_of_its_own(tmp_path: Path) -> None:
    text = "Epoch 1/2\n" + bar(1, 100, loss=2.0) + bar(37, 100, loss="nan")
    run = run_of(tmp_path, {"a.out": text})
    assert points(run, "loss (running mean)") == [
        (0, 2.0),
        (36, pytest.approx(np.nan, nan_ok=True)),
    ]
    assert not [s for s in run.series if s.tag == "loss"]


def test_a_number_that_was_cut_is_left_out(tmp_path: Path) -> None:
    text = "Epoch 1/2\n" + bar(1, 100, loss=2.5) + bar(2, 100, loss=1.25, accuracy=0.5)[:-5]
    run = run_of(tmp_path, {"a.out": text})
    assert not [s for s in run.series if s.tag.startswith("accuracy")]
    assert points(run, "loss (running mean)") == [(0, 2.5), (1, 1.25)]


def test_an_evaluation_is_no_part_of_the_last_epoch(tmp_path: Path) -> None:
    text = "Epoch 1/2\n" + bar(1, 2, loss=2.0) + bar(2, 2, loss=1.5) + "\n"
    text += bar(1, 2, loss=9.0) + bar(2, 2, loss=9.5) + "\n" + bar(1, 7, loss=8.0) + "\n"
    run = run_of(tmp_path, {"a.out": text + "Epoch 2/2\n" + bar(1, 2, loss=1.0) + "\n"})
    assert points(run, "loss") == [(0, 1.5)]
    assert points(run, "loss (running mean)") == [(0, 2.0), (1, 1.5), (2, 1.0)]


def test_a_second_fit_is_a_training_of_its_own(tmp_path: Path) -> None:
    fit = "".join(f"Epoch {e}/3\n" + bar(2, 2, loss=1.0 / e) + "\n" for e in (1, 2, 3))
    run = run_of(tmp_path, {"a.out": fit + fit})
    assert points(run, "loss", "a.out") == points(run, "loss", "a.out#2")


def test_a_resumed_fit_goes_back_in_the_same_series(tmp_path: Path) -> None:
    lines = [f"Epoch {e}/5\n" + bar(2, 2, loss=float(e)) + "\n" for e in (1, 2, 3, 3, 4)]
    run = run_of(tmp_path, {"a.out": "".join(lines)})
    assert [s for s, _ in points(run, "loss")] == [0, 1, 2, 2, 3]


def test_calls_with_one_epoch_count_on(tmp_path: Path) -> None:
    lines = [f"Epoch 1/1\n{bar(1, 2, loss=9.0)}{bar(2, 2, loss=float(e))}\n" for e in range(4)]
    run = run_of(tmp_path, {"a.out": "".join(lines)})
    assert points(run, "loss") == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0)]


def test_unknown_length_is_known_when_the_next_epoch_begins(tmp_path: Path) -> None:
    text = "Epoch 1/3\n" + bar(1, "Unknown", loss=2.0) + bar(5, "Unknown", loss=1.5) + "\n"
    text += "Epoch 2/3\n" + bar(1, "Unknown", loss=1.0) + bar(3, "Unknown", loss=0.5) + "\n"
    run = run_of(tmp_path, {"a.out": text})
    assert points(run, "loss (running mean)") == [(0, 2.0), (4, 1.5), (5, 1.0), (7, 0.5)]
    assert points(run, "loss") == [(0, 1.5)]


def test_samples_are_counted_in_batches(tmp_path: Path) -> None:
    shown = "".join(bar(n, 100, loss=n / 100) for n in (32, 64, 96))
    end = "\r100/100 [====] - 0s 83us/sample - loss: 0.9000 - val_loss: 1.0000\n"
    text = "Train on 100 samples, validate on 10 samples\n" + "".join(
        f"Epoch {e}/2\n{shown}{end}" for e in (1, 2)
    )
    run = run_of(tmp_path, {"a.out": text})
    steps = series(run, "loss (running mean)").steps.tolist()
    assert steps == [0, 1, 2, 3, 4, 5, 6, 7]
    assert run.config["steps_per_epoch"] == 4


def test_bars_that_go_on_by_several_count_nobody_knows_what(tmp_path: Path) -> None:
    """Keras 2.2 counted samples without saying so; later ones count groups of batches."""
    bars = "".join(bar(n, 100, loss=n / 100) for n in (32, 64, 96, 100))
    run = run_of(tmp_path, {"a.out": "".join(f"Epoch {e}/2\n{bars}\n" for e in (1, 2))})
    assert points(run, "loss") == [(0, 1.0), (1, 1.0)]
    assert {s.step_axis for s in run.series if len(s)} == {StepAxis.EPOCH}
    assert "steps_per_epoch" not in run.config


def test_one_line_per_epoch_of_old(tmp_path: Path) -> None:
    text = "".join(
        f"Epoch {e}/3\n - {e}s - loss: {1 / e:.4f} - acc: 0.5000 - val_loss: nan\n"
        for e in (1, 2, 3)
    )
    run = run_of(tmp_path, {"a.out": text})
    assert points(run, "loss") == [(0, 1.0), (1, 0.5), (2, 0.3333)]
    assert first_bad(series(run, "val_loss")) == 0


def test_a_learning_rate_is_one_of_epochs(tmp_path: Path) -> None:
    text = "Epoch 1/2\n2/2 - 1s - 5ms/step - loss: 0.5000 - learning_rate: 1.0000e-03\n"
    run = run_of(tmp_path, {"a.out": text})
    assert points(run, "learning_rate") == [(0, 1e-3)]
    assert not [s for s in run.series if s.tag.startswith("learning_rate (")]


def test_terminate_on_nan_without_an_epoch_is_said(tmp_path: Path) -> None:
    text = "step 1 loss 2.0\nBatch 17: Invalid loss, terminating training\n"
    run = run_of(tmp_path, {"a.out": text})
    (warning,) = [w for w in run.warnings if w.kind == "undated"]
    assert "batch 17" in warning.detail


def test_terminate_on_nan_that_raises(tmp_path: Path) -> None:
    text = "Epoch 1/2\n" + bar(1, 100, loss=2.0) + "\n"
    text += "RuntimeError: NaN or Inf loss encountered at batch 11. Loss value: nan. Terminating."
    loss = series(run_of(tmp_path, {"a.out": text}), "loss (running mean)")
    assert first_bad(loss) == 11
    assert loss.watched


def test_with_groups_of_batches_the_batch_is_not_exact(tmp_path: Path) -> None:
    bars = bar(4, 100, loss=2.0) + bar(8, 100, loss=1.0)
    text = "Epoch 1/2\n" + bars.replace("[====>....] - ETA: 1s", "\u2501\u2501 1s 10ms/step")
    text += "Batch 11: Invalid loss, terminating training\n"
    loss = series(run_of(tmp_path, {"a.out": text}), "loss (running mean)")
    assert first_bad(loss) == 11
    assert not loss.watched


def test_announced_learning_rates(tmp_path: Path) -> None:
    lines = [f"Epoch {e}/4\n{bar(2, 2, loss=1.0)}\n" for e in (1, 2, 3, 4)]
    lines[1] += "\nEpoch 2: ReduceLROnPlateau reducing learning rate to 0.0005000000237487257.\n"
    run = run_of(tmp_path, {"a.out": "".join(lines)})
    assert points(run, "learning_rate") == [(2, 0.0005000000237487257)]


def test_processes_are_told_apart(tmp_path: Path) -> None:
    lines = ["Epoch 1/2", " 1/2 [>..] - ETA: 0s - loss: {}", "2/2 [==] - 0s 1ms/step - loss: {}"]
    text = "".join(
        f"[1,{rank}]<stdout>:{line.format(f'{rank}.5000')}\n" for line in lines for rank in (0, 1)
    )
    run = run_of(tmp_path, {"a.out": text})
    assert points(run, "loss", "a.out[0]") == [(0, 0.5)]
    assert points(run, "loss", "a.out[1]") == [(0, 1.5)]


def test_a_hole_of_zeros_is_damage_with_its_place(tmp_path: Path) -> None:
    first = "Epoch 1/3\n" + bar(2, 2, loss=1.0) + "\n"
    text = first.encode() + bytes(4096) + ("Epoch 3/3\n" + bar(2, 2, loss=0.5) + "\n").encode()
    run = run_of(tmp_path, {"a.out": text})
    (warning,) = run.warnings
    assert (warning.kind, warning.offset) == ("hole", len(first))
    assert points(run, "loss") == [(0, 1.0), (2, 0.5)]


def test_what_stands_behind_a_hole_is_of_an_unknown_epoch(tmp_path: Path) -> None:
    first = "Epoch 1/9\n" + bar(1, 9, loss=2.0) + "\n"
    rest = bar(5, 9, loss="nan") + bar(9, 9, loss="nan") + "\nEpoch 7/9\n" + bar(9, 9, loss=0.5)
    run = run_of(tmp_path, {"a.out": first.encode() + bytes(4096) + rest.encode() + b"\n"})
    assert points(run, "loss (running mean)") == [(0, 2.0), (62, 0.5)]
    assert points(run, "loss") == [(6, 0.5)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = "Trainingsl\u00e4ufe\r\nEpoch 1/2\r\n" + bar(2, 2, loss=1.0) + "\r\n"
    run = run_of(tmp_path, {"a.log": text.encode(encoding)})
    assert points(run, "loss") == [(0, 1.0)]
