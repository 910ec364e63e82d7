"""MLflow's store and Weights & Biases' runs, recorded by both and damaged."""

from __future__ import annotations

import json
import struct
import sys
import zlib
from math import inf, nan
from pathlib import Path

import numpy as np
import pytest

from forensics.domain.quantity import Quantity, StepAxis
from forensics.domain.run import InputState
from forensics.errors import NothingToAnalyze, SeveralRuns
from forensics.sources.logdir import read
from tests.sources_logs.logs_of import DATA, first_bad, points, run_of, series

BAD_RUN = "1/aaaa0000000000000000000000000001"


def test_runs_of_a_store_are_separate() -> None:
    with pytest.raises(SeveralRuns) as caught:
        read(DATA / "mlruns")
    assert caught.value.names == (BAD_RUN, "1/bbbb0000000000000000000000000002")


def test_a_run_of_a_store() -> None:
    run = read(DATA / "mlruns" / BAD_RUN)
    loss = series(run, "loss")
    assert (loss.writer, first_bad(loss), loss.values[7]) == (".", 7, inf)
    assert np.isnan(loss.values[8:]).all()
    assert 1.7e9 < loss.wall_times[0] < 1.9e9
    assert series(run, "val/loss").quantity is Quantity.VALIDATION_LOSS
    assert run.config == {"learning_rate": 0.2, "batch_size": 32, "optimizer": "SGD"}


def test_largest_floats_are_infinities_again(tmp_path: Path) -> None:
    largest = sys.float_info.max
    lines = f"1000 2.5 0\n2000 {largest!r} 1\n3000 {-largest!r} 2\n4000 nan 3\n"
    run = run_of(tmp_path, {"meta.yaml": "run_id: a\n", "metrics/loss": lines})
    np.testing.assert_array_equal(series(run, "loss").values, [2.5, inf, -inf, nan])
    (warning,) = run.warnings
    assert warning.kind == "translated"
    assert run.inputs[0].state is InputState.COMPLETE


def test_old_and_damaged_lines(tmp_path: Path) -> None:
    lines = "1000 2.5\n2000 1.5 1\nx y z\n3000 1.0 2 train abc\n4000 0.5 3"
    run = run_of(tmp_path, {"a/meta.yaml": "", "a/metrics/train/loss": lines})
    assert points(run, "train/loss", "a") == [(0, 2.5), (1, 1.5), (2, 1.0)]
    assert run.inputs[0].state is InputState.DAMAGED


def test_metrics_without_a_store_are_none(tmp_path: Path) -> None:
    with pytest.raises(NothingToAnalyze):
        run_of(tmp_path, {"metrics/loss": "1000 2.5 0\n"})


def test_a_database_is_not_read_and_that_is_said(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"mlflow.db": b"SQLite format 3\0" + bytes(100)})
    (warning,) = run.warnings
    assert (warning.kind, run.inputs[0].state) == ("not_read", InputState.LIMIT)


def test_a_recorded_run_of_wandb() -> None:
    run = read(DATA / "run-offline.wandb")
    loss = series(run, "loss")
    assert (loss.step_axis, len(loss), first_bad(loss)) == (StepAxis.BATCH, 24, 17)
    assert series(run, "val_loss").values[[2, 3]].tolist() == [inf, inf]
    assert [s for s, _ in points(run, "val_loss")] == [5, 11, 17, 23]
    assert points(run, "epoch/loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert series(run, "epoch/loss").step_axis is StepAxis.EPOCH
    assert [s for s, _ in points(run, "batch/loss")] == [0, 5, 10, 15]
    assert run.config == {"learning_rate": 0.1, "batch_size": 4, "optimizer": "sgd"}
    assert run.inputs[0].state is InputState.COMPLETE


def field(number: int, data: bytes) -> bytes:
    size, prefix = len(data), b""
    while size > 127:
        prefix, size = prefix + bytes([size & 127 | 128]), size >> 7
    key = number << 3 | 2
    keys = bytes([key & 127 | 128, key >> 7]) if key > 127 else bytes([key])
    return keys + prefix + bytes([size]) + data


def history(step: int, **values: object) -> bytes:
    items = b"".join(
        field(1, field(1, name.encode()) + field(16, json.dumps(value).encode()))
        for name, value in {"_step": step, **values}.items()
    )
    return field(2, items)


def framed(records: list[bytes]) -> bytes:
    """Records in blocks of 32 KiB, as W&B writes them."""
    out = bytearray(b":W&B\xe1\xbe\x00")
    for record in records:
        first, rest = True, record
        while first or rest:
            left = 32768 - len(out) % 32768
            if left < 7:
                out += bytes(left)
                continue
            part, rest = rest[: left - 7], rest[left - 7 :]
            kind = (1 if first else 4) if not rest else (2 if first else 3)
            out += struct.pack("<IHB", zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind)
            out += part
            first = False
    return bytes(out)


def test_records_over_several_blocks(tmp_path: Path) -> None:
    records = [history(s, loss=1.0 / (s + 1), note="x" * (977 * s)) for s in range(80)]
    content = framed(records)
    assert len(content) > 50 * 32768
    run = run_of(tmp_path, {"run-a.wandb": content})
    assert points(run, "loss") == [(s, 1.0 / (s + 1)) for s in range(80)]


@pytest.mark.parametrize("change", [b"", b"abc", b"\0" * 5000])
def test_what_was_put_in_or_taken_out_displaces_nothing(tmp_path: Path, change: bytes) -> None:
    content = framed([history(s, loss=float(s), x="y" * 200) for s in range(600)])
    where = 32768 + 5000
    damaged = content[:where] + change + content[where + 40 :]
    run = run_of(tmp_path, {"run-a.wandb": damaged})
    assert 596 <= len(series(run, "loss")) < 600
    assert run.inputs[0].state is InputState.DAMAGED


def test_a_flipped_bit_loses_one_record(tmp_path: Path) -> None:
    content = bytearray(framed([history(s, loss=float(s), x="y" * 200) for s in range(600)]))
    where = 2 * 32768 + 5000
    content[where] ^= 1
    run = run_of(tmp_path, {"run-a.wandb": bytes(content)})
    steps = series(run, "loss").steps
    assert len(steps) == 599
    (warning,) = run.warnings
    assert warning.kind == "bad_record"
    assert warning.offset is not None
    assert 0 <= where - warning.offset < 300


def test_a_run_that_is_being_written_has_an_incomplete_tail(tmp_path: Path) -> None:
    content = framed([history(s, loss=float(s)) for s in range(5)])[:-3]
    run = run_of(tmp_path, {"run-a.wandb": content})
    assert len(series(run, "loss")) == 4
    assert run.inputs[0].state is InputState.INCOMPLETE_TAIL
    assert not run.warnings


def test_two_runs_of_wandb_are_separate(tmp_path: Path) -> None:
    content = framed([history(s, loss=float(s)) for s in range(5)])
    with pytest.raises(SeveralRuns):
        run_of(
            tmp_path, {"wandb/run-1-a/run-a.wandb": content, "wandb/run-2-b/run-b.wandb": content}
        )


def test_rows_per_epoch_are_epochs(tmp_path: Path) -> None:
    content = framed([history(s, epoch=s, loss=float(s)) for s in range(5)])
    run = run_of(tmp_path, {"run-a.wandb": content})
    assert series(run, "loss").step_axis is StepAxis.EPOCH


def test_old_history_and_settings_beside_it(tmp_path: Path) -> None:
    rows = [{"_step": s, "_timestamp": 1.7e9, "loss": 1.5} for s in range(3)]
    yaml = (
        "wandb_version: 1\n\n_wandb:\n  desc: null\n  value:\n    cli_version: 0.12\n"
        "learning_rate:\n  desc: null\n  value: 0.01\npassword:\n  value: hunter2\n"
        "optimizer:\n    value: Adam\n"
    )
    files: dict[str, str | bytes] = {
        "files/wandb-history.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "files/config.yaml": yaml,
        "files/wandb-metadata.json": "{}",
    }
    run = run_of(tmp_path, files)
    assert points(run, "loss") == [(0, 1.5), (1, 1.5), (2, 1.5)]
    assert run.config == {"learning_rate": 0.01, "optimizer": "Adam"}


@pytest.mark.parametrize("folder", ["", "wandb/offline-run-20260101_000000-ab12/"])
def test_a_summary_beside_a_history_adds_nothing(tmp_path: Path, folder: str) -> None:
    files: dict[str, str | bytes] = {
        f"{folder}run-ab12.wandb": framed([history(s, loss=float(s)) for s in range(5)]),
        f"{folder}files/wandb-summary.json": '{"_step": 4, "loss": 4.0}',
    }
    assert len(run_of(tmp_path, files).series) == 1


def test_a_summary_stands_in_for_a_history_that_is_not_there(tmp_path: Path) -> None:
    summary = '{"_step": 99, "loss": NaN, "accuracy": 0.1, "_timestamp": 1.7e9, "_wandb": {"a": 1}}'
    run = run_of(tmp_path, {"files/wandb-summary.json": summary})
    loss = series(run, "loss")
    assert (loss.steps.tolist(), bool(np.isnan(loss.values[0]))) == ([99], True)
