"""What PyTorch, Lightning and an Estimator recorded, against what their programs computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forensics.domain.quantity import Quantity
from forensics.domain.run import InputState, Run
from forensics.sources.logdir import read
from tests.sources.written import RECORDED


def values(run: Run, writer: str, tag: str) -> list[tuple[int, float]]:
    table: Any = run.scalars()
    some = table[(table["writer"] == writer) & (table["tag"] == tag)]
    return list(zip(some["step"].tolist(), some["value"].tolist(), strict=True))


def test_pytorch() -> None:
    run = read(RECORDED / "pytorch")
    loss = [(step, float(np.float32(1.0 / (step + 1)))) for step in range(6)]
    assert values(run, ".", "Loss/train") == loss
    assert values(run, ".", "new_style") == [(i, float(np.float32(i / 3))) for i in range(6)]
    assert values(run, "both_a", "both") == [(step, float(step)) for step in range(6)]
    assert values(run, "both_b", "both") == [(step, float(-step)) for step in range(6)]
    assert values(run, "trial", "hparam/accuracy") == [(0, 0.5)]
    assert run.train_loss is not None
    assert run.train_loss.tag == "Loss/train"


def test_histograms_of_pytorch() -> None:
    table: Any = read(RECORDED / "pytorch").histograms()
    few = table[table["tag"] == "few"]
    for r in few.itertuples():
        weights = np.linspace(-r.step, r.step, 20)
        counts, edges = np.histogram(weights, "auto")
        assert np.array_equal(r.limits, edges)
        assert np.array_equal(r.counts, [0, *counts])
        assert (r.min, r.max, r.num) == (-r.step, r.step, 20)
        assert r.sum_squares == pytest.approx(float(weights @ weights))
    [raw] = table[table["tag"] == "raw"].itertuples()
    assert (raw.limits.tolist(), raw.counts.tolist()) == ([0, 1, 2], [1, 0, 2])
    assert [raw.min, raw.max, raw.num, raw.sum, raw.sum_squares] == [-1, 2, 3, 4, 5]


def test_other_values_of_pytorch() -> None:
    run: Any = read(RECORDED / "pytorch")
    assert run.texts()[["tag", "step", "text"]].values.tolist() == [
        ["note/text_summary", 3, "**grüße**"]
    ]
    sizes = run.images()[["tag", "step", "width", "height"]].values.tolist()
    assert sizes == [["image", 1, 6, 4], ["images", 1, 12, 4]]
    assert all(encoded.startswith(b"\x89PNG") for encoded in run.images()["encoded"])
    sound = run.audio().iloc[0]
    assert (sound.sample_rate, sound.channels, sound.length_frames) == (8000.0, 1, 80)
    tensors = {r.tag: r for r in run.tensors().itertuples()}
    assert tensors["tensor"].value.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (tensors["pr"].plugin, tensors["pr"].value.shape) == ("pr_curves", (6, 5))
    assert b"Loss/train" in tensors["custom_scalars__config__"].value.item()


def test_lightning() -> None:
    run = read(RECORDED / "lightning")
    loss = [(step, float(np.float32(2.0 / (step + 1)))) for step in range(10)]
    assert values(run, ".", "train_loss") == loss
    assert values(run, ".", "val_loss") == [(4, 1.0), (9, 0.5)]
    # Logged with the training and with the validation losses: its steps go back, nothing is lost.
    epochs = [(step, float(step // 5)) for step in range(10)] + [(4, 0.0), (9, 1.0)]
    assert values(run, ".", "epoch") == epochs
    assert [s.quantity for s in run.of(Quantity.VALIDATION_LOSS)] == [Quantity.VALIDATION_LOSS]


def test_an_estimator_that_was_resumed() -> None:
    """After n batches the weight is 1 - 2**-n; the loss of batch n was computed before it."""
    run = read(RECORDED / "estimator")
    assert {i.state for i in run.inputs} == {InputState.COMPLETE}
    assert values(run, ".", "loss")[0] == (1, 1.0)
    assert run.train_loss is not None
    assert (run.train_loss.writer, run.train_loss.shift) == (".", 1)
    assert run.train_loss.logged_steps.tolist() == [1, 3, 5, 7, 9]
    # A summary is computed while the weight is being assigned: before or after, by luck.
    for step, value in values(run, ".", "loss"):
        assert value in (4.0 ** -(step - 1), 4.0**-step)
    assert values(run, "eval", "loss") == [(6, 4.0**-6)]
    assert values(run, "eval", "distance") == [(6, 2.0**-6)]
    sessions = run.sessions()[["step", "status"]].values.tolist()
    assert sessions.count([1, "start"]) == sessions.count([7, "start"]) == 1
    histograms: Any = run.histograms()
    for r in histograms.itertuples():
        weight = r.max / 2
        assert weight in (1 - 2.0 ** -(r.step - 1), 1 - 2.0**-r.step)
        assert (r.min, r.num, r.sum) == (-weight, 3, 2 * weight)
        assert r.sum_squares == pytest.approx(6 * weight**2)
        assert r.counts.sum() == 3
    assert histograms["limits"].iloc[0][-1] == np.finfo(float).max
    kinds = run.graphs().groupby("writer")["kind"].agg(lambda kinds: sorted(set(kinds))).to_dict()
    assert kinds == {".": ["graph", "meta_graph"], "eval": ["graph", "meta_graph"]}
