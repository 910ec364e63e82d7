"""The examples of docs/python-api.md, run against a log directory in which they were planted."""

from __future__ import annotations

import doctest
import re
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from forensics.errors import SeveralRuns
from forensics.sources.logdir import read
from tests.sources import event_writer as ew

NAN = float("nan")


def described(plugin: bytes, content: bytes = b"") -> bytes:
    """Metadata of a value."""
    named = ew.bytes_field(1, plugin) + (ew.bytes_field(2, content) if content else b"")
    return ew.bytes_field(9, ew.bytes_field(1, named))


def value(tag: bytes, tensor: bytes, metadata: bytes = b"") -> bytes:
    return ew.bytes_field(1, tag) + ew.bytes_field(8, tensor) + metadata


def doubles(*shape: int, of: list[float]) -> bytes:
    return ew.tensor(2, shape, ew.bytes_field(4, struct.pack(f"<{len(of)}d", *of)))


def strings(*of: bytes) -> bytes:
    return ew.tensor(7, (len(of),), b"".join(ew.bytes_field(8, text) for text in of))


def hparams(**values: float) -> bytes:
    entries = [
        ew.bytes_field(1, name.encode()) + ew.bytes_field(2, ew.double_field(2, number))
        for name, number in values.items()
    ]
    return ew.bytes_field(3, b"".join(ew.bytes_field(1, entry) for entry in entries))


def wrote(step: int, *values: bytes) -> bytes:
    return ew.record(ew.event(step, values))


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """A run that was resumed, and became sick, with one damaged file."""
    root = tmp_path / "runs" / "mnist"
    losses = [(1, 2.0), (2, 1.5), (3, NAN), (2, 1.25), (3, 0.75)]
    ended = ew.bytes_field(4, ew.number_field(1, 1))
    ew.write(
        root / "train",
        *(wrote(step, ew.v2("batch_loss", loss)) for step, loss in losses),
        *(wrote(step, ew.v2("batch_learning_rate", 0.125)) for step in (1, 2, 3)),
        wrote(
            1, value(b"weights", doubles(2, 3, of=[-1, 0, 2, 0, 2, 4]), described(b"histograms"))
        ),
        wrote(2, value(b"weights", doubles(2, 3, of=[NAN, NAN, 0] * 2))),
        wrote(1, value(b"note", strings(b"**lr** 0.1"), described(b"text"))),
        wrote(
            1, value(b"digit", strings(b"3", b"2", b"\x89PNG\r\n\x1a\n..."), described(b"images"))
        ),
        wrote(1, value(b"confusion", doubles(2, 2, of=[1, 2, 3, 4]))),
        wrote(
            0, ew.bytes_field(1, b"start") + described(b"hparams", hparams(lr=0.1, batch_size=32.0))
        ),
        wrote(3, ew.bytes_field(1, b"end") + described(b"hparams", ended)),
    )
    broken = ew.write(root / "validation", ew.scalars("epoch_loss", [2.5, 2.25]))
    content = bytearray(broken.read_bytes())
    content[60] ^= 1
    broken.write_bytes(content)
    (root / "ckpt").mkdir()
    with h5py.File(root / "ckpt" / "step_2.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = np.array([[1.0, 2.0], [3.0, NAN]], "float32")
    return root


def test_the_examples(mnist: Path, repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mnist.parents[1])
    page = (repo_root / "docs" / "python-api.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```pycon\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 8
    parser = doctest.DocTestParser()
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    names: dict[str, object] = {}
    said: list[str] = []
    for block in blocks:
        test = parser.get_doctest(block, names, "python-api.md", None, 0)
        runner.run(test, out=said.append, clear_globs=False)
        names = test.globs
    assert "".join(said) == "", "".join(said)
    assert runner.summarize(verbose=False).attempted > 12


def test_every_column_is_documented(mnist: Path) -> None:
    run = read(mnist)
    tables = ("scalars", "histograms", "texts", "images", "audio", "tensors", "graphs", "hparams")
    for name in (*tables, "sessions", "messages"):
        table = getattr(run, name)()
        assert table.columns[:4].tolist() == ["writer", "tag", "step", "wall_time"]
        assert (table["step"].dtype, table["wall_time"].dtype) == ("int64", "float64")


def test_a_table_of_no_checkpoints_can_be_asked_the_same(tmp_path: Path) -> None:
    ew.write(tmp_path, ew.scalars("loss", [2.0, 1.0]))
    table = read(tmp_path).checkpoints()
    assert len(table[table["name"].str.contains("kernel") & (table["nan"] > 0)]) == 0


def test_independent_runs_as_one_table(tmp_path: Path) -> None:
    for name in ("a", "b"):
        ew.write(tmp_path / name, ew.scalars("loss", [2.0, 1.0]))
        (tmp_path / name / "ckpt-1.index").write_bytes(b"")
    with pytest.raises(SeveralRuns):
        read(tmp_path)
    table = read(tmp_path, several=True).scalars()
    assert table[["writer", "value"]].values.tolist() == [
        ["a", 2.0],
        ["a", 1.0],
        ["b", 2.0],
        ["b", 1.0],
    ]
