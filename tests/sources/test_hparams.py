"""Hyperparameters against the plugin's own messages, and what they say about settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.domain.logged import LoggedTag
from forensics.errors import Damaged
from forensics.sources.events.hparam_sessions import logged_settings, settings_of
from forensics.sources.events.hparams import decode_hparams
from forensics.sources.logdir import read
from tests.sources import event_writer as ew
from tests.sources.written import RECORDED

plain = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def fill(message: Any, value: Any) -> None:
    """Set a google.protobuf.Value."""
    if value is None:
        message.null_value = 0
    elif isinstance(value, bool):
        message.bool_value = value
    elif isinstance(value, float):
        message.number_value = value
    elif isinstance(value, str):
        message.string_value = value
    elif isinstance(value, list):
        message.list_value.SetInParent()
        for item in value:
            fill(message.list_value.values.add(), item)
    else:
        message.struct_value.SetInParent()
        for key, item in value.items():
            fill(message.struct_value.fields[key], item)


@given(st.dictionaries(st.text(max_size=6), values, max_size=4), st.text(max_size=5))
def test_a_session_as_the_plugin_writes_it(hparams: dict[str, Any], group: str) -> None:
    from tensorboard.plugins.hparams import plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData(version=0)
    data.session_start_info.group_name = group
    data.session_start_info.start_time_secs = 12.5
    for name, value in hparams.items():
        fill(data.session_start_info.hparams[name], value)
    found = decode_hparams(data.SerializeToString())
    assert (found.values, found.group, found.started) == (hparams, group, 12.5)


def test_an_experiment_and_an_end() -> None:
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

    data = plugin_data_pb2.HParamsPluginData()
    data.experiment.hparam_infos.add(name="lr", type=3)
    data.experiment.metric_infos.add().name.tag = "accuracy"
    data.experiment.metric_infos.add().name.CopyFrom(api_pb2.MetricName(group="val", tag="loss"))
    found = decode_hparams(data.SerializeToString())
    assert (found.declared, found.metrics) == (("lr",), ("accuracy", "val/loss"))
    data = plugin_data_pb2.HParamsPluginData()
    data.session_end_info.status, data.session_end_info.end_time_secs = 2, 99.0
    found = decode_hparams(data.SerializeToString())
    assert (found.status, found.ended) == ("failure", 99.0)


@given(st.binary(max_size=60))
def test_only_damage_escapes(content: bytes) -> None:
    for wrapped in (content, ew.bytes_field(3, content), ew.bytes_field(2, content)):
        try:
            decode_hparams(wrapped)
        except Damaged:
            continue


def test_values_nested_without_end() -> None:
    value = ew.double_field(2, 1.0)
    for _ in range(2000):
        value = ew.bytes_field(6, ew.bytes_field(1, value))
    entry = ew.bytes_field(1, ew.bytes_field(1, b"a") + ew.bytes_field(2, value))
    with pytest.raises(Damaged, match="nested too deep"):
        decode_hparams(ew.bytes_field(3, entry))


def tag(**hparams: Any) -> LoggedTag:
    count = len(hparams)
    columns = {"name": list(hparams), "value": list(hparams.values())}
    return LoggedTag(".", "start", np.zeros(count, np.int64), np.zeros(count), columns)


@pytest.mark.parametrize(
    ("hparams", "expected"),
    [
        ({"lr": 0.01}, {"learning_rate": 0.01}),
        (
            {"optimizer/lr": 0.01, "train.batch_size": 32.0},
            {"learning_rate": 0.01, "batch_size": 32},
        ),
        (
            {"learningRate": "1e-3", "optimizer": "Adam"},
            {"learning_rate": 0.001, "optimizer": "Adam"},
        ),
        ({"lr": 0.1, "critic/lr": 0.2, "loss": "mse"}, {"loss": "mse"}),
        ({"lr": 0.1, "critic/lr": 0.1}, {"learning_rate": 0.1}),
        ({"lr": True, "batch_size": 0.5, "optimizer": 3.0, "loss": ""}, {}),
        ({"lr_decay": 0.1, "weight_loss": 1.0, "optimizer_steps": 3.0}, {}),
        ({"learning_rate": float("nan"), "bs": "many"}, {}),
    ],
)
def test_settings(hparams: dict[str, Any], expected: dict[str, Any]) -> None:
    assert settings_of([tag(**hparams)]) == expected


def test_sessions_that_differ_leave_a_setting_unknown() -> None:
    assert settings_of([tag(lr=0.1, bs=8.0), tag(lr=0.2, bs=8.0)]) == {"batch_size": 8}


def test_of_pytorch_and_lightning() -> None:
    torch = read(RECORDED / "pytorch")
    assert torch.config == {"learning_rate": 0.01, "batch_size": 32, "optimizer": "Adam"}
    columns = ["writer", "name", "value", "status"]
    assert torch.hparams()[columns].values.tolist() == [
        ["trial", "lr", 0.01, "success"],
        ["trial", "batch_size", 32.0, "success"],
        ["trial", "optimizer", "Adam", "success"],
        ["trial", "nesterov", 1.0, "success"],
    ]
    lightning = read(RECORDED / "lightning")
    assert lightning.config["learning_rate"] == 0.003
    assert lightning.hparams()[["name", "value"]].values.tolist() == [
        ["learning_rate", 0.003],
        ["net/units", 8.0],
        ["dropout", "None"],
    ]


def metadata(name: bytes, content: bytes, step: int = 0) -> bytes:
    plugin = ew.bytes_field(1, b"hparams") + ew.bytes_field(2, content)
    described = ew.bytes_field(9, ew.bytes_field(1, plugin))
    return ew.record(ew.event(step, [ew.bytes_field(1, name) + described]))


def start(**hparams: float) -> bytes:
    entries = [
        ew.bytes_field(1, name.encode()) + ew.bytes_field(2, ew.double_field(2, number))
        for name, number in hparams.items()
    ]
    return ew.bytes_field(3, b"".join(ew.bytes_field(1, entry) for entry in entries))


def end(status: int) -> bytes:
    return ew.bytes_field(4, ew.number_field(1, status))


def test_sessions_logged_one_after_the_other_into_one_file(tmp_path: Path) -> None:
    """As Lightning does when ``log_hyperparams`` is called again."""
    ew.write(
        tmp_path,
        *(metadata(b"start", start(lr=0.5), 1), metadata(b"end", end(3), 1)),
        *(metadata(b"start", start(lr=0.25, bs=8), 2), metadata(b"end", end(1), 2)),
    )
    run = read(tmp_path)
    assert run.hparams()[["step", "name", "value", "status"]].values.tolist() == [
        [1, "lr", 0.5, "running"],
        [2, "lr", 0.25, "success"],
        [2, "bs", 8.0, "success"],
    ]
    assert (run.config, run.warnings) == ({"batch_size": 8}, ())


def test_the_same_hyperparameters_again_are_no_news(tmp_path: Path) -> None:
    again = [metadata(b"start", start(lr=0.5), step) for step in range(1100)]
    ew.write(tmp_path, *again, metadata(b"end", end(3)), metadata(b"end", end(1)))
    run = read(tmp_path)
    assert [w.kind for w in run.warnings] == ["limit"]
    with pytest.warns(UserWarning, match="'start' were written 100 more times"):
        table = run.hparams()
    assert table[["step", "name", "value", "status"]].values.tolist() == [[0, "lr", 0.5, "success"]]


def test_hyperparameters_in_a_file_that_is_gone_are_said(tmp_path: Path) -> None:
    path = ew.write(tmp_path, *(metadata(b"start", start(lr=lr)) for lr in (0.5, 0.25)))
    logged = read(tmp_path).logged
    path.unlink()
    assert logged is not None
    settings, [warning] = logged_settings(logged)
    assert (settings, warning.kind) == ({}, "changed")
    assert "is gone" in warning.detail


def test_a_broken_session_costs_no_other(tmp_path: Path) -> None:
    ew.write(tmp_path / "a", metadata(b"s", start(lr=0.5)))
    ew.write(tmp_path / "b", metadata(b"s", b"\x1a\x7f"))
    run = read(tmp_path)
    assert run.config == {"learning_rate": 0.5}
    assert [(w.path.split("/")[0], w.kind) for w in run.warnings] == [("b", "bad_wire")]
    with pytest.warns(UserWarning, match="hyperparameters of 's' cannot be read"):
        assert run.hparams()["value"].tolist() == [0.5]
