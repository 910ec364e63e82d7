"""Tables and histories: CSV of several writers, JSON, lines of JSON."""

from __future__ import annotations

import json
import tracemalloc
from math import inf, isnan, nan
from pathlib import Path

import numpy as np
import pytest

from forensics.domain.quantity import Fidelity, Quantity, StepAxis
from forensics.domain.run import InputState
from forensics.errors import NothingToAnalyze
from forensics.sources.logdir import read
from forensics.sources.logs.tabular import Table
from tests.sources_logs.logs_of import DATA, first_bad, points, run_of, series


def test_lightning_separates_steps_and_epochs() -> None:
    run = read(DATA / "version_0")
    step, epoch = series(run, "train_loss_step"), series(run, "train_loss_epoch")
    assert (step.step_axis, epoch.step_axis) == (StepAxis.BATCH, StepAxis.EPOCH)
    assert step.steps.tolist() == list(range(3, 40, 4))
    assert epoch.steps.tolist() == [0, 1, 2, 3]
    assert (first_bad(step), first_bad(epoch)) == (27, 2)
    validation = series(run, "val_loss")
    assert (validation.step_axis, first_bad(validation)) == (StepAxis.EPOCH, 2)


def test_trainer_state_counts_batches_that_are_done() -> None:
    run = read(DATA / "trainer_state.json")
    loss = series(run, "loss")
    assert (loss.step_axis, loss.shift, loss.fidelity) == (StepAxis.BATCH, 1, Fidelity.RECORD)
    assert first_bad(loss) == 17
    norm = series(run, "grad_norm")
    assert norm.quantity is Quantity.GRADIENT_NORM
    assert norm.values[8] == inf
    assert [s for s, _ in points(run, "eval_loss")] == [9, 19, 29]
    assert not [s for s in run.series if s.tag == "train_loss"]


def test_what_the_trainer_printed_says_in_which_epoch() -> None:
    run = read(DATA / "transformers_printed.out")
    assert first_bad(series(run, "loss")) == 1
    assert [s for s, _ in points(run, "eval_loss")] == [0, 1, 2]


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_a_cut_trainer_state_keeps_its_entries(tmp_path: Path, keep: float) -> None:
    whole = (DATA / "trainer_state.json").read_bytes()
    run = run_of(tmp_path, {"trainer_state.json": whole[: int(len(whole) * keep)]})
    (warning,) = run.warnings
    assert warning.kind == "bad_json"
    assert run.inputs[0].state is InputState.DAMAGED
    loss, complete = series(run, "loss"), series(read(DATA / "trainer_state.json"), "loss")
    assert 0 < len(loss) <= len(complete) * (keep + 0.15)
    np.testing.assert_array_equal(loss.values, complete.values[: len(loss)])


def test_checkpoints_of_the_trainer_are_one_history(tmp_path: Path) -> None:
    state = json.loads((DATA / "trainer_state.json").read_text())
    files: dict[str, str | bytes] = {}
    for count in (4, 8, len(state["log_history"])):
        part = {**state, "log_history": state["log_history"][:count]}
        files[f"checkpoint-{count}/trainer_state.json"] = json.dumps(part)
    run = run_of(tmp_path, files)
    assert len([s for s in run.series if s.tag == "loss"]) == 1
    assert len(run.inputs) == 3


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_and_line_ends(tmp_path: Path, separator: str) -> None:
    rows = ["epoch,accuracy,loss", "0,0.5,1.25", "1,NA,nan", "2,0.75,inf"]
    text = "\r\n".join(rows).replace(",", separator) + "\r\n"
    run = run_of(tmp_path, {"log.csv": text})
    assert points(run, "accuracy") == [(0, 0.5), (2, 0.75)]
    assert series(run, "loss").values[[0, 2]].tolist() == [1.25, inf]
    assert run.inputs[0].state is InputState.COMPLETE


def test_append_mode_with_the_header_again(tmp_path: Path) -> None:
    text = "epoch,loss\n0,3.0\n1,2.0\nepoch,loss,lr\n1,2.5,0.1\n2,1.0,0.1\n"
    run = run_of(tmp_path, {"log.csv": text})
    assert points(run, "loss") == [(0, 3.0), (1, 2.0), (1, 2.5), (2, 1.0)]
    assert points(run, "lr") == [(1, 0.1), (2, 0.1)]


def test_epochs_from_1_and_steps_from_1_begin_at_0(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "a.csv": "Epoch,train_loss\n1,3.0\n2,2.0\n3,1.0\n",
        "b.csv": "step,loss_b\n1,3.0\n2,2.0\n3,1.0\n",
    }
    run = run_of(tmp_path, files)
    assert [s for s, _ in points(run, "train_loss")] == [0, 1, 2]
    assert [s for s, _ in points(run, "loss_b")] == [0, 1, 2]


def test_batches_within_epochs(tmp_path: Path) -> None:
    rows = "".join(f"{e},{b},{e + b / 10}\n" for e in range(3) for b in range(4))
    run = run_of(tmp_path, {"a.csv": "epoch,batch,loss\n" + rows})
    assert [s for s, _ in points(run, "loss")] == list(range(12))


def test_history_of_pandas(tmp_path: Path) -> None:
    text = ",loss,val_loss\n0,3.0,4.0\n1,2.0,3.0\n2,,2.0\n"
    run = run_of(tmp_path, {"h.csv": text})
    loss = series(run, "loss")
    assert (loss.step_axis, points(run, "loss")) == (StepAxis.EPOCH, [(0, 3.0), (1, 2.0)])


def test_history_without_an_index_counts_its_rows(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"history.csv": "loss,val_loss\n3.0,4.0\n2.0,3.0\n"})
    assert points(run, "val_loss") == [(0, 4.0), (1, 3.0)]


def test_a_number_that_was_cut_is_no_number(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"log.csv": "epoch,accuracy,loss\n0,0.5,1.25\n1,0.75,1.12"})
    assert points(run, "loss") == [(0, 1.25)]
    assert points(run, "accuracy") == [(0, 0.5), (1, 0.75)]
    assert run.inputs[0].state is InputState.INCOMPLETE_TAIL
    assert not run.warnings


def test_a_row_of_another_length_is_left_out_and_said(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"log.csv": "epoch,loss\n0,1.5\n1,2\n2,1.0,7\n3,0.5\n"})
    assert points(run, "loss") == [(0, 1.5), (1, 2.0), (3, 0.5)]
    (warning,) = run.warnings
    assert "line 4" in warning.detail


def test_exports_of_wandb_keep_runs_apart(tmp_path: Path) -> None:
    head = '"Step","a-1 - loss","a-1 - loss__MIN","a-1 - loss__MAX","b-2 - loss"\n'
    text = head + '"0","2.5","2.5","2.5",""\n"1","1.5","1.5","1.5","NaN"\n'
    run = run_of(tmp_path, {"wandb_export.csv": text})
    assert points(run, "loss", "wandb_export.csv[a-1]") == [(0, 2.5), (1, 1.5)]
    (point,) = points(run, "loss", "wandb_export.csv[b-2]")
    assert point[0] == 1
    assert isnan(point[1])
    assert len(run.series) == 2


def test_download_of_tensorboard(tmp_path: Path) -> None:
    text = "Wall time,Step,Value\n1700000000.5,0,2.5\n1700000001.5,1,1.5\n"
    run = run_of(tmp_path, {"run-train-tag-epoch_loss.csv": text})
    loss = series(run, "epoch_loss")
    assert (loss.step_axis, loss.wall_times[0]) == (StepAxis.EPOCH, 1700000000.5)


def test_the_logger_of_keras_in_a_file_called_log(tmp_path: Path) -> None:
    content = (DATA / "keras3_logger.csv").read_bytes()
    run = run_of(tmp_path, {"training.log": content})
    assert [i.kind for i in run.inputs] == ["csv"]
    assert first_bad(series(run, "loss")) == 2


def test_lines_of_json_in_files_of_other_names(tmp_path: Path) -> None:
    lines = "".join(f'{{"epoch": {e}, "loss": {e}.5}}\n' for e in range(3))
    run = run_of(tmp_path, {"20240101.log.json": lines, "train.log": lines})
    assert points(run, "loss", "train.log") == points(run, "loss", "20240101.log.json")
    assert [i.kind for i in run.inputs] == ["json_log", "progress_text"]


def test_json_that_was_formatted_by_hand(tmp_path: Path) -> None:
    lines = "".join(f'{{"step": {k}, "loss": {v}}}\n' for k, v in enumerate(("1.5", "-inf", "nan")))
    run = run_of(tmp_path, {"a.jsonl": lines, "history.json": '{"loss": [2.5,nan, inf]}'})
    np.testing.assert_array_equal(series(run, "loss", "a.jsonl").values, [1.5, -inf, nan])
    np.testing.assert_array_equal(series(run, "loss", "history.json").values, [2.5, nan, inf])
    assert not run.warnings


def test_json_of_tensorboard(tmp_path: Path) -> None:
    rows = '[[1700000000.5, 0, 2.5], [1700000001.5, 1, "NaN"], [1, 2], "x"]'
    loss = series(run_of(tmp_path, {"run-train-tag-batch_loss.json": rows}), "batch_loss")
    assert loss.steps.tolist() == [0, 1]
    assert isnan(loss.values[1])


def test_a_long_table_of_runs_and_tags(tmp_path: Path) -> None:
    text = "writer,tag,quantity,step,wall_time,value\n" + "".join(
        f"{w},{t},q,{s},1.5,{s}.{k}\n"
        for k, w in enumerate(("train", "validation"))
        for t in ("epoch_loss", "lr")
        for s in range(3)
    )
    run = run_of(tmp_path, {"scalars.csv": text})
    assert points(run, "epoch_loss", "scalars.csv[train]") == [(0, 0.0), (1, 1.0), (2, 2.0)]
    assert points(run, "lr", "scalars.csv[validation]") == [(0, 0.1), (1, 1.1), (2, 2.1)]
    assert len(run.series) == 4


def test_runs_of_one_table_are_no_directories(tmp_path: Path) -> None:
    text = "run,step,loss\n" + "".join(f"{r}/x,{s},1.5\n" for r in "ab" for s in range(2))
    run = run_of(tmp_path, {"t.csv": text})
    assert {s.writer for s in run.series} == {"t.csv[a/x]", "t.csv[b/x]"}


def test_rows_of_training_and_validation_are_kept_apart(tmp_path: Path) -> None:
    text = "epoch,phase,loss\n0,train,2.5\n0,val,3.5\n1,train,1.5\n1,val,nan\n"
    run = run_of(tmp_path, {"log.csv": text})
    assert points(run, "train/loss") == [(0, 2.5), (1, 1.5)]
    validation = series(run, "val/loss")
    assert (validation.quantity, first_bad(validation)) == (Quantity.VALIDATION_LOSS, 1)


@pytest.mark.parametrize(
    "text",
    [
        "label,pixel0,pixel1\n1,0,0\n",
        "step,temperature\n1,2\n",
        "loss\n1\n2\n",
        "a,loss\n1,2\n",
        "1,2\n3,4\n",
        '"unclosed,epoch,loss\n1,2\n',
    ],
)
def test_other_tables_are_no_logs(tmp_path: Path, text: str) -> None:
    with pytest.raises(NothingToAnalyze):
        run_of(tmp_path, {"table.csv": text})


@pytest.mark.parametrize(
    "document",
    [
        {"loss": [3.0, 2.0, nan], "val_loss": [4.0, 3.0, 2.0]},
        {"history": {"loss": [3.0, 2.0, nan]}, "params": {"epochs": 3}, "epoch": [0, 1, 2]},
        {"loss": {"0": 3.0, "1": 2.0, "2": nan}},
        [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}, {"epoch": 3, "loss": "NaN"}],
        {"logs": [{"epoch": e, "loss": v} for e, v in enumerate((3.0, 2.0, nan))]},
    ],
)
def test_histories_in_json(tmp_path: Path, document: object) -> None:
    run = run_of(tmp_path, {"history.json": json.dumps(document)})
    loss = series(run, "loss")
    assert (loss.step_axis, loss.steps.tolist()) == (StepAxis.EPOCH, [0, 1, 2])
    np.testing.assert_array_equal(loss.values, [3.0, 2.0, nan])


def test_lines_of_json(tmp_path: Path) -> None:
    lines = [json.dumps({"step": s, "loss": v}) for s, v in enumerate((3.0, nan, inf))]
    text = "\n".join([*lines[:2], '{"step": 7, "lo', lines[2], '{"step": 3, "loss": 1.'])
    run = run_of(tmp_path, {"metrics.jsonl": text})
    np.testing.assert_array_equal(series(run, "loss").values, [3.0, nan, inf])
    (warning,) = run.warnings
    assert warning.offset == len(lines[0]) + len(lines[1]) + 2


def test_a_cut_last_line_of_json_is_an_incomplete_tail(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"m.jsonl": '{"step": 0, "loss": 1}\n{"step": 1, "lo'})
    assert run.inputs[0].state is InputState.INCOMPLETE_TAIL
    assert not run.warnings


def test_other_json_is_no_log(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "config.json": '{"loss": "mse", "layers": [1, 2]}',
        "package.json": "{}",
        "deep.json": '{"loss":' + "[" * 100_000,
        "model.json": '{"loss_weights": {"a": 1.0}, "lossy": true}',
    }
    with pytest.raises(NothingToAnalyze):
        run_of(tmp_path, files)


def test_a_notebook(tmp_path: Path) -> None:
    printed = (DATA / "keras3_verbose1.out").read_text()
    half = len(printed) // 2
    cells = [
        {"cell_type": "markdown", "source": "Epoch 1/4"},
        {
            "cell_type": "code",
            "outputs": [
                {
                    "output_type": "stream",
                    "name": "stdout",
                    "text": [printed[:half], printed[half:]],
                },
                {"output_type": "execute_result", "data": {"text/plain": "loss"}},
            ],
        },
    ]
    run = run_of(tmp_path, {"train.ipynb": json.dumps({"nbformat": 4, "cells": cells})})
    expected = read(DATA / "keras3_verbose1.out")
    for tag in ("loss", "loss (running mean)", "val_accuracy"):
        np.testing.assert_array_equal(points(run, tag), points(expected, tag))
    assert [i.kind for i in run.inputs] == ["notebook"]


def test_a_notebook_that_is_cut(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"a.ipynb": '{"cells": [{"outputs": ['})
    assert run.warnings[0].kind == "bad_json"


@pytest.mark.parametrize(("first", "steps"), [("Step", [9, 19]), ("Epoch", [0, 1])])
def test_the_table_of_a_trainer_in_a_notebook(tmp_path: Path, first: str, steps: list[int]) -> None:
    at = [10, 20] if first == "Step" else [1, 2]
    cells = "".join(
        f"<tr>\n<td>{a}</td>\n<td>{t}</td>\n<td>{v}</td>\n</tr>"
        for a, t, v in zip(at, ("No log", "1.250000"), ("1.500000", "nan"), strict=True)
    )
    page = (
        '<div><progress value="20" max="20"></progress></div>\n<table border="1" class="dataframe">'
        f'<thead>\n <tr style="text-align: left;">\n <th>{first}</th>\n <th>Training Loss</th>\n'
        f" <th>Validation Loss</th>\n</tr>\n</thead>\n<tbody>\n{cells}</tbody>\n</table><p>"
    )
    output = {"output_type": "display_data", "data": {"text/html": [page[:99], page[99:]]}}
    notebook = {"nbformat": 4, "cells": [{"cell_type": "code", "outputs": [output]}]}
    run = run_of(tmp_path, {"a.ipynb": json.dumps(notebook)})
    assert points(run, "Training Loss") == [(steps[1], 1.25)]
    loss = series(run, "Validation Loss")
    assert loss.quantity is Quantity.VALIDATION_LOSS
    assert (loss.steps.tolist(), first_bad(loss)) == (steps, steps[1])


def test_numbers_with_a_decimal_comma(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"log.csv": "epoch;loss\n0;1,5\n1;2,5e-3\n2;nan\n"})
    assert points(run, "loss")[:2] == [(0, 1.5), (1, 0.0025)]
    assert len(points(run, "loss")) == 3


def test_rows_without_epochs_cost_little_memory() -> None:
    table = Table()
    for step in range(50_000):
        table.add([("loss", 1.0)], step)
    tracemalloc.start()
    (curve,) = table.curves()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(curve.steps) == 50_000
    assert peak < 40 * 50_000


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_entries_of_a_large_document_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    entries = [{"step": i, "loss": 1.0 / (i + 1)} for i in range(50)]
    text = json.dumps({"best_metric": None, "log_history": entries, "epoch": 3})
    text = text[: len(text) - 11 - cut] if cut else text
    small = run_of(tmp_path / "small", {"trainer_state.json": text})
    monkeypatch.setattr("forensics.sources.logs.json_file._AT_ONCE", 10)
    large = run_of(tmp_path / "large", {"trainer_state.json": text})
    assert points(large, "loss") == points(small, "loss")
    assert large.inputs == small.inputs
    assert [w.detail for w in large.warnings] == [w.detail for w in small.warnings]
