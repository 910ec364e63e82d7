"""A table beside event files: the same training, or a data set that has a loss too."""

from __future__ import annotations

from pathlib import Path

import pytest

from forensics.domain.quantity import Quantity
from forensics.sources.logdir import read
from tests.sources import event_writer as ew

LOSS = [1.0 / (step + 1) for step in range(40)]


def table(folder: Path, losses: list[float | str], first: int = 0) -> None:
    rows = [f"{first + index},{loss}" for index, loss in enumerate(losses)]
    (folder / "table.csv").write_text("\n".join(["step,loss", *rows]) + "\n")


def of_table(folder: Path) -> tuple[Quantity, list[str]]:
    run = read(folder)
    [found] = [s for s in run.series if s.writer.startswith("table.csv")]
    return found.quantity, [w.kind for w in run.warnings]


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    ew.write(tmp_path, ew.scalars("loss", LOSS))
    return tmp_path


def test_a_data_set_with_a_loss_is_no_training(logged: Path) -> None:
    table(logged, [250.0 + 17 * (row % 5) if row % 7 else "nan" for row in range(40)])
    assert of_table(logged) == (Quantity.OTHER, ["not_used"])


def test_the_same_training_counts(logged: Path) -> None:
    table(logged, [*(f"{loss:.4g}" for loss in LOSS), "nan"])
    assert of_table(logged) == (Quantity.TRAIN_LOSS, [])


def test_steps_may_be_counted_from_one(logged: Path) -> None:
    table(logged, [f"{loss:.5g}" for loss in LOSS], first=1)
    assert of_table(logged) == (Quantity.TRAIN_LOSS, [])


def test_too_few_common_steps_prove_nothing(logged: Path) -> None:
    table(logged, [250.0, 260.0, 270.0, "nan"])
    assert of_table(logged) == (Quantity.TRAIN_LOSS, [])


def test_without_event_files_a_table_is_believed(tmp_path: Path) -> None:
    table(tmp_path, [250.0 + row for row in range(40)])
    assert of_table(tmp_path) == (Quantity.TRAIN_LOSS, [])
