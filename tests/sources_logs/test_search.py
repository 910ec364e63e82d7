"""Which files are taken for logs, what they cost, and how they stand beside event files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from forensics.domain.quantity import Fidelity, StepAxis
from forensics.domain.run import InputState
from forensics.errors import NothingToAnalyze, SeveralRuns
from forensics.sources.logdir import read
from forensics.sources.logs import pieces, search
from forensics.sources.storage.local_file import LocalFile
from tests.sources import event_writer as ew
from tests.sources_logs.logs_of import DATA, points, run_of, series

PROGRESS = (DATA / "keras3_verbose1.out").read_bytes()


@pytest.mark.parametrize(
    "name",
    [
        "slurm-123.out", "job.err", "train.log", "nohup.out", "stdout", "stderr", "out.txt",
        "job.o12345", "train.log.1", "a/b/console_output.log", "STDOUT.TXT", "output",
    ],
)  # fmt: skip
def test_names_of_texts(tmp_path: Path, name: str) -> None:
    assert len(series(run_of(tmp_path, {name: PROGRESS}), "loss")) == 4


@pytest.mark.parametrize("name", ["train.py", "a.png", "README.md", "loss", "weights.bin"])
def test_other_names_are_not_opened(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    original = LocalFile.__init__

    def noted(self: LocalFile, path: str, given: str) -> None:
        opened.append(given)
        original(self, path, given)

    monkeypatch.setattr(LocalFile, "__init__", noted)
    with pytest.raises(NothingToAnalyze):
        run_of(tmp_path, {name: PROGRESS})
    assert opened == []


def test_what_is_no_log_costs_one_small_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    original = LocalFile._range

    def noted(self: LocalFile, offset: int, count: int) -> bytes:
        asked.append(count)
        return original(self, offset, count)

    monkeypatch.setattr(LocalFile, "_range", noted)
    files: dict[str, str | bytes] = {
        "data.csv": "label,x\n" + "1,2\n" * 50_000,
        "words.txt": "word\n" * 50_000,
        "core.log": bytes(range(256)) * 1000,
        "vocabulary.json": '{"a": 1' + ', "b": 2' * 20_000,
    }
    with pytest.raises(NothingToAnalyze):
        run_of(tmp_path, files)
    assert len(asked) == len(files)
    assert max(asked) <= search.HEAD


def test_a_text_without_numbers_is_no_input(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"a.out": PROGRESS, "b.log": "hello\n" * 100})
    assert [i.path for i in run.inputs] == ["a.out"]


def test_too_many_files_are_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_SNIFFED", 3)
    files: dict[str, str | bytes] = {f"{k}.out": PROGRESS for k in range(5)}
    run = run_of(tmp_path, files)
    assert len(run.inputs) == 3
    (warning,) = run.warnings
    assert (warning.kind, warning.detail[:7]) == ("limit", "2 more ")


def test_too_many_bytes_are_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_BYTES", 2 * len(PROGRESS))
    run = run_of(tmp_path, {f"{k}.out": PROGRESS for k in range(3)})
    assert [i.state for i in run.inputs] == [
        InputState.COMPLETE, InputState.COMPLETE, InputState.LIMIT,
    ]  # fmt: skip


def test_of_a_very_long_log_beginning_and_end_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "BEGINNING", 4000)
    monkeypatch.setattr(pieces, "END", 3000)
    lines = [f"Epoch {e + 1}/1000\n2/2 - 0s - 5ms/step - loss: {e}.5000\n" for e in range(1000)]
    run = run_of(tmp_path, {"a.out": "".join(lines)})
    loss = series(run, "loss")
    assert all(value == step + 0.5 for step, value in points(run, "loss"))
    assert loss.steps[0] == 0
    assert loss.steps[-1] == 999
    assert 100 < len(loss) < 200
    (warning,) = run.warnings
    assert (warning.kind, run.inputs[0].state) == ("limit", InputState.LIMIT)


def test_after_what_was_left_out_the_epoch_is_unknown_until_one_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "BEGINNING", 2000)
    monkeypatch.setattr(pieces, "END", 2000)
    bars = "".join(f"\r{b}/999 [=>..] - ETA: 0s - loss: 1.5000" for b in range(1, 1000))
    text = f"Epoch 1/3\n{bars}\nEpoch 2/3\n{bars}\n"
    loss = series(run_of(tmp_path, {"a.out": text}), "loss (running mean)")
    assert loss.steps.max() < 60


def test_a_fifo_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.log")
    run = run_of(tmp_path, {"a.out": PROGRESS})
    assert [w.kind for w in run.warnings] == ["denied"]
    assert len(series(run, "loss")) == 4


def test_single_files(tmp_path: Path) -> None:
    for name in ("keras3_verbose1.out", "keras3_logger.csv", "trainer_state.json"):
        run = read(DATA / name)
        assert run.name == name
        assert run.root == str(DATA)
        assert [i.path for i in run.inputs] == [name]


@pytest.mark.parametrize(
    "name", ["keras2_verbose1.out", "keras3_logger.csv", "keras3_history.json", "run-offline.wandb"]
)
def test_a_single_file_may_have_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "whatever"
    path.write_bytes((DATA / name).read_bytes())
    assert [s.tag for s in read(path).series] == [s.tag for s in read(DATA / name).series]


def test_a_run_per_directory_with_the_same_log(tmp_path: Path) -> None:
    table = "epoch,loss\n0,1.5\n1,1.0\n"
    with pytest.raises(SeveralRuns) as caught:
        run_of(tmp_path, {"a/training.csv": table, "b/training.csv": table})
    assert caught.value.names == ("a", "b")


@pytest.mark.parametrize(
    "files",
    [
        {"train/log.csv": "", "validation/log.csv": ""},
        {"rank0/log.csv": "", "rank1/log.csv": ""},
        {"a/one.csv": "", "b/two.csv": ""},
        {"log.csv": "", "old/log.csv": ""},
    ],
)
def test_parts_of_one_run(tmp_path: Path, files: dict[str, str]) -> None:
    rows = [f"epoch,loss\n0,{k}.5\n1,1.0\n" for k in range(2)]
    run = run_of(tmp_path, dict(zip(files, rows, strict=True)))
    assert len(run.series) == 2


def test_event_files_come_first(tmp_path: Path) -> None:
    events = b"".join(ew.record(ew.event(s, [ew.v1("epoch_loss", 1.25)])) for s in range(3))
    files: dict[str, str | bytes] = {
        "train/events.out.tfevents.1.host": events,
        "log.csv": "epoch,loss\n0,1.2500001\n1,1.25\n2,1.25\n",
        "a.out": PROGRESS,
    }
    run = run_of(tmp_path, files)
    loss = run.train_loss
    assert loss is not None
    assert (loss.tag, loss.fidelity) == ("epoch_loss", Fidelity.EVENT)
    assert not run.train_loss_is_part


def test_exact_numbers_come_before_printed_ones(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "z.csv": "epoch,loss\n0,1.2345678\n1,1.1\n",
        "a.out": PROGRESS,
    }
    run = run_of(tmp_path, files)
    loss = run.train_loss
    assert loss is not None
    assert (loss.writer, loss.fidelity) == ("z.csv", Fidelity.RECORD)


def test_epochs_come_before_running_means(tmp_path: Path) -> None:
    loss = run_of(tmp_path, {"a.out": PROGRESS}).train_loss
    assert loss is not None
    assert (loss.fidelity, loss.step_axis) == (Fidelity.PRINTED, StepAxis.EPOCH)


def test_of_one_epoch_the_running_mean_tells_more() -> None:
    loss = read(DATA / "keras2_one_epoch.out").train_loss
    assert loss is not None
    assert loss.fidelity is Fidelity.RUNNING_MEAN


def test_a_single_file_that_cannot_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "job.out")
    with pytest.raises(NothingToAnalyze, match="FIFO"):
        read(tmp_path / "job.out")
