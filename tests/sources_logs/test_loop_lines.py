"""Lines of training loops: what leaves no doubt is read, the rest is not."""

from __future__ import annotations

from math import isnan
from pathlib import Path

import numpy as np
import pytest

from forensics.domain.quantity import Fidelity, Quantity, StepAxis
from forensics.errors import NothingToAnalyze
from forensics.sources.logdir import read
from tests.sources_logs.logs_of import DATA, first_bad, points, run_of, series


@pytest.mark.parametrize(
    "line",
    [
        "step {} loss {}",
        "Step: {}, Loss: {}",
        "step={} loss={} time=0.31s",
        "iter {}: loss {}, lr 0.001",
        "2024-05-01 10:11:12,345 INFO step {}/1000 - loss = {}",
        '{{"step": {}, "loss": {}}}',
        "{{'step': {}, 'loss': '{}'}}",
        "Training loss (for one batch) at step {}: {}",
        "INFO:tensorflow:loss = {1}, step = {0} (0.512 sec)",
        "step {} loss tf.Tensor({}, shape=(), dtype=float32)",
        "global step {}, train loss: {}.",
    ],
)
def test_a_step_and_a_loss(tmp_path: Path, line: str) -> None:
    text = "".join(line.format(10 * k, v) + "\n" for k, v in enumerate(["2.5", "1e-3", "nan"]))
    run = run_of(tmp_path, {"train.log": text})
    (loss,) = run.of(Quantity.TRAIN_LOSS)
    assert loss.step_axis is StepAxis.BATCH
    assert loss.fidelity is Fidelity.PRINTED
    assert loss.steps.tolist() == [0, 10, 20]
    assert loss.values[:2].tolist() == [2.5, 1e-3]
    assert isnan(loss.values[2])


@pytest.mark.parametrize(
    "line",
    [
        "the loss of generality at step 3",
        "loss 2.5",
        "step 3 took 2.5 s; weightloss program 7",
        "step 3.5 loss 2.5",
        "step 3 loss 2.5e",
        "step 3 loss 25%",
        "step 3 loss v2.5",
        "step 3 loss 2-5",
        "steps: many, loss: 2.5",
        "step 3: train_runtime 5 loss 3",
    ],
)
def test_doubtful_lines_are_left(tmp_path: Path, line: str) -> None:
    with pytest.raises(NothingToAnalyze):
        run_of(tmp_path, {"train.log": f"{line}\n" * 3})


def test_epochs_of_a_tutorial_count_from_1(tmp_path: Path) -> None:
    text = "".join(
        f"Epoch {e}, Loss: {1 / e:.4f}, Accuracy: 95.9, Test Loss: 0.06, Test Accuracy: 97.9\n"
        for e in (1, 2, 3)
    )
    run = run_of(tmp_path, {"train.log": text})
    loss = series(run, "Loss")
    assert (loss.step_axis, loss.shift) == (StepAxis.EPOCH, 1)
    assert points(run, "Loss") == [(0, 1.0), (1, 0.5), (2, 0.3333)]
    assert series(run, "Test_Loss").quantity is Quantity.VALIDATION_LOSS


def test_steps_within_epochs_of_known_length(tmp_path: Path) -> None:
    text = "".join(f"Epoch {e}/2, step {b}/3, loss: {e}.{b}\n" for e in (1, 2) for b in (1, 2, 3))
    run = run_of(tmp_path, {"train.log": text})
    assert [s for s, _ in points(run, "loss")] == [0, 1, 2, 3, 4, 5]


def test_steps_within_epochs_of_unknown_length_stay_epochs(tmp_path: Path) -> None:
    text = "".join(f"Epoch {e} Batch {b} Loss 1.5\n" for e in (1, 2) for b in (0, 100))
    loss = series(run_of(tmp_path, {"train.log": text}), "Loss")
    assert (loss.step_axis, loss.steps.tolist()) == (StepAxis.EPOCH, [0, 0, 1, 1])


def test_imagenet_style(tmp_path: Path) -> None:
    text = "".join(
        f"Epoch: [{e}][{b:5d}/5005]\tTime  1.0 ( 1.0)\tLoss 6.9e+00 (7.0e+00)\n"
        for e in (0, 1)
        for b in (0, 10)
    )
    assert [s for s, _ in points(run_of(tmp_path, {"a.log": text}), "Loss")] == [0, 10, 5005, 5015]


def test_bars_of_tqdm(tmp_path: Path) -> None:
    bar = "\rEpoch {}: {:3d}%|####      | {}/4 [00:01<00:02,  3.65it/s, loss={}, v_num=0]"
    text = "".join(bar.format(e, 25 * b, b, f"{e}.{b}") for e in (0, 1) for b in (1, 2, 3, 4))
    text += "\rValidation DataLoader 0: 100%|####| 4/4 [00:01<00:02,  3.65it/s, loss=9.9]\n"
    run = run_of(tmp_path, {"train.log": text})
    assert points(run, "loss") == [(1, 0.1), (2, 0.2), (3, 0.4), (5, 1.1), (6, 1.2), (7, 1.4)]


def test_recorded_bars_of_tqdm_date_no_batch_too_early() -> None:
    loss = series(read(DATA / "tqdm.out"), "loss")
    assert loss.step_axis is StepAxis.BATCH
    assert first_bad(loss) == 20
    assert np.all(np.diff(loss.steps) > 0)


def test_bars_of_old_lightning_count_validation_too(tmp_path: Path) -> None:
    bar = "\rEpoch {}: {:3d}%|####      | {}/4 [00:01<00:02,  3.65it/s, loss={}, v_num=0]"
    text = "Validating: 0it [00:00, ?it/s]\n"
    text += "".join(bar.format(e, 25 * b, b, f"{e}.{b}") for e in (0, 1) for b in (1, 2)) + "\n"
    loss = series(run_of(tmp_path, {"train.log": text}), "loss")
    assert (loss.step_axis, loss.steps.tolist()) == (StepAxis.EPOCH, [0, 0, 1, 1])


def test_dictionaries_of_the_hugging_face_trainer(tmp_path: Path) -> None:
    text = (
        "{'loss': 2.5, 'grad_norm': 1.5, 'learning_rate': 5e-05, 'epoch': 0.5}\n"
        "{'loss': '1.5', 'grad_norm': 'nan', 'learning_rate': '4e-05', 'epoch': '1'}\n"
        "{'eval_loss': 1.75, 'eval_runtime': 1.2, 'epoch': 1.0}\n"
        "{'loss': 0.0, 'grad_norm': nan, 'learning_rate': 3e-05, 'epoch': 1.5}\n"
        "{'train_runtime': 9.9, 'train_loss': 1.3, 'epoch': 2.0}\n"
    )
    run = run_of(tmp_path, {"slurm-1.out": text})
    assert points(run, "loss") == [(0, 2.5), (0, 1.5), (1, 0.0)]
    assert series(run, "grad_norm").quantity is Quantity.GRADIENT_NORM
    assert series(run, "eval_loss").quantity is Quantity.VALIDATION_LOSS
    assert not [s for s in run.series if s.tag == "train_loss"]


def test_an_evaluation_of_an_estimator_is_one(tmp_path: Path) -> None:
    saved = "Saving dict for global step 100: accuracy = 0.5, global_step = 100, loss = 0.6"
    text = f"INFO:tensorflow:loss = 2.5, step = 0\nINFO:tensorflow:{saved}\n"
    run = run_of(tmp_path, {"a.log": text})
    assert points(run, "loss") == [(0, 2.5)]
    assert points(run, "eval_loss") == [(100, 0.6)]
    assert series(run, "eval_loss").quantity is Quantity.VALIDATION_LOSS


def test_a_callback_that_repeats_what_keras_prints_adds_nothing(tmp_path: Path) -> None:
    text = "Epoch 1/2\n2/2 - 1s - 5ms/step - loss: 0.5000\nepoch 0 loss 0.5\n"
    assert len(run_of(tmp_path, {"a.log": text}).of(Quantity.TRAIN_LOSS)) == 2


def test_an_estimator_that_stopped_at_nan_says_by_when() -> None:
    """Recorded; the loss was NaN from step 25 on, and is printed every ten steps."""
    run = read(DATA / "estimator.log")
    loss = series(run, "loss")
    assert loss.steps.tolist() == [0, 10, 20, 30]
    assert first_bad(loss) == 30
    assert points(run, "eval_loss") == [(20, 1.6375374)]


def test_lightning_gives_nan_a_point(tmp_path: Path) -> None:
    def bar(done: int, loss: str) -> str:
        return f"\rEpoch 0:  50%|####| {done}/4 [00:00<00:00, 9.1it/s, v_num=0, train_loss={loss}]"

    text = bar(1, "0.5") + bar(2, "0.4") + bar(3, "nan.0") + "\n"
    run = run_of(tmp_path, {"job.err": text})
    assert first_bad(series(run, "train_loss")) == 3


def test_bars_of_the_keras_callback_of_tqdm(tmp_path: Path) -> None:
    """Epochs and batches have a bar each; both count what is done (recorded with tqdm 4.70)."""
    drawn = ["  0%|          | 0/3 [00:00<?, ?epoch/s]"]
    for epoch in range(3):
        for done in range(1, 121):
            loss = "nan" if (epoch, done) >= (1, 111) else "0.5"
            scaled = f"{done:.2f}" if done < 10 else f"{done:.1f}" if done < 100 else f"{done}"
            drawn.append(f"  9%|9   | {scaled}/120 [00:00<00:00, 506batch/s, loss={loss}]\x1b[A")
        loss = "nan" if epoch else "0.5"
        drawn += [f" 33%|### | {epoch + 1}/3 [00:00<00:00, 13.8epoch/s, loss={loss}]"] * 2
    run = run_of(tmp_path, {"job.err": "\r".join(drawn) + "\n"})
    assert [step for step, _ in points(run, "loss")] == [0, 1, 2]
    assert first_bad(series(run, "loss")) == 1
    assert first_bad(series(run, "loss (running mean)")) == 120 + 110


def test_what_a_loop_prints_after_keras_is_not_lost_silently(tmp_path: Path) -> None:
    text = "Epoch 1/1\n3/3 - 1s - loss: 0.5000\nstep 1 loss 0.4\nstep 2 loss nan\n"
    run = run_of(tmp_path, {"job.out": text})
    assert [w.kind for w in run.warnings] == ["not_used"]
