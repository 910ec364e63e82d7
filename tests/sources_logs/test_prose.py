"""Texts that speak of trainings and are no logs of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from forensics.errors import NothingToAnalyze
from tests.sources_logs.logs_of import points, run_of

_QUOTED = "Epoch 1/2\n10/10 - 1s - loss: 1.5\nEpoch 2/2\n10/10 - 1s - loss: nan\n"
_NOTES = (
    "Train with `python train.py --epochs 10`.\n"
    "After epoch 10 the loss: 0.23 is what you should see.\n"
    "If at step 200 the loss = nan then lower the rate.\n"
)


@pytest.mark.parametrize("name", ["README.txt", "readme_first.txt", "CHANGES.txt", "LICENSE.txt"])
def test_document_is_no_log(tmp_path: Path, name: str) -> None:
    kept: dict[str, str | bytes] = {
        "job.out": "step 1 loss 0.5\nstep 2 loss 0.4\n",
        name: _QUOTED + _NOTES,
    }
    run = run_of(tmp_path, kept)
    assert {s.writer for s in run.series} == {"job.out"}


def test_prose_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(NothingToAnalyze):
        run_of(tmp_path, {"notes.txt": _NOTES})


def test_lines_alike_are_a_log(tmp_path: Path) -> None:
    text = "".join(f"step {i} loss {v}\n" for i, v in enumerate(["0.5", "0.4", "nan"]))
    run = run_of(tmp_path, {"output.txt": text})
    assert [step for step, _ in points(run, "loss")] == [0, 1, 2]


def test_one_line_of_an_output_counts(tmp_path: Path) -> None:
    run = run_of(tmp_path, {"job.out": "at step 200 loss = nan\n"})
    assert [step for step, _ in points(run, "loss")] == [200]
