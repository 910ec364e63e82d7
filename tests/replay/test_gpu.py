"""Replays on a GPU, where there is one; and what is decided about devices, everywhere."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from forensics.domain.replay import Phase, ReplayStatus
from forensics.replay.sandbox.containment import Containment
from forensics.replay.worker.stepping import placement
from forensics.replay.worker.tracing.tensors import make_finite
from tests.replay.replaying import replay

CARDS = ("/dev/nvidia0", "/dev/kfd", "/proc/driver/nvidia/version")
on_gpu = pytest.mark.gpu
tf = pytest.mark.tf


@pytest.fixture(scope="module")
def card() -> str:
    """Name of the GPU that TensorFlow sees; skips the test where it sees none."""
    if not any(Path(path).exists() for path in CARDS):
        pytest.skip("this machine has no GPU")
    import tensorflow

    if not tensorflow.config.list_physical_devices("GPU"):
        pytest.skip("TensorFlow sees no GPU")
    return placement.choose("auto")


@tf
@on_gpu
def test_a_logarithm_of_zero_is_found_on_a_gpu(card: str) -> None:
    result = replay("log_of_zero", failing_step=12, device="gpu")
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    assert result.device == card
    assert result.origin is not None
    assert (result.origin.op_type, result.origin.phase) == ("Log", Phase.FORWARD)
    assert result.samples == (5,)
    assert placement.ON_HOST in result.degradations


@tf
@on_gpu
def test_a_label_out_of_range_is_nan_on_a_gpu_and_raises_on_the_cpu(card: str) -> None:
    there = replay("label_out_of_range", failing_step=3, device="gpu")
    assert (there.status, there.symptom) == (ReplayStatus.REPRODUCED, "loss")
    assert there.origin is not None
    assert there.origin.op_type == "SparseSoftmaxCrossEntropyWithLogits"
    here = replay("label_out_of_range", failing_step=3, device="cpu")
    assert (here.device, here.symptom) == ("CPU", "raised")


@tf
@on_gpu
def test_a_laundered_value_is_found_on_a_gpu(card: str) -> None:
    result = replay("laundered", failing_step=5, device="gpu")
    assert result.status is ReplayStatus.REPRODUCED, result.reason
    assert result.origin is not None and result.origin.op_type == "RealDiv"


@tf
def test_a_gpu_that_is_not_there_is_not_replaced() -> None:
    if any(Path(path).exists() for path in CARDS):
        pytest.skip("this machine may have a GPU")
    result = replay("log_of_zero", failing_step=12, device="gpu")
    assert result.status is ReplayStatus.NOT_RUN
    assert result.reason == "--device gpu: TensorFlow sees no GPU here"


# -- decisions, which need no GPU
@pytest.mark.parametrize(
    ("then", "here", "said"),
    [
        ("GPU", "CPU", "the run was on a GPU, the replay is on a CPU"),
        ("CPU", "GPU NVIDIA H100", "the run was on a CPU, the replay is on a GPU"),
        ("GPU", "GPU NVIDIA H100", None),
        ("CPU", "CPU", None),
        (None, "CPU", None),
        (7, "CPU", None),
    ],
)
def test_another_kind_of_device_is_said(then: Any, here: str, said: str | None) -> None:
    found = placement.elsewhere(then, here)
    assert found is None if said is None else found is not None and found.startswith(said)


class Traces:
    """A stepper, and a trace whose step fails on some devices only."""

    def __init__(self, failing: tuple[str | None, ...]) -> None:
        self.eager_device: str | None = None
        self.failing = failing
        self.places: list[str | None] = []

    def __call__(self) -> Any:
        self.places.append(self.eager_device)
        symptom = "loss" if self.eager_device in self.failing else None
        return SimpleNamespace(eager_outcome=SimpleNamespace(symptom=symptom))

    def run(self, device: str, fails: bool = True) -> tuple[Any, list[str]]:
        said: list[str] = []
        stepper: Any = self
        return placement.traced(stepper, device, fails, self, said), said


def test_on_a_cpu_a_step_is_traced_where_tensorflow_puts_it() -> None:
    traces = Traces((None,))
    _, said = traces.run("CPU")
    assert (traces.places, said) == ([None], [])


def test_of_a_gpu_a_step_is_traced_on_the_host_first() -> None:
    traces = Traces((placement.HOST, None))
    found, said = traces.run("GPU A")
    assert (traces.places, said) == ([placement.HOST], [placement.ON_HOST])
    assert found.eager_outcome.symptom == "loss"
    assert traces.eager_device == placement.HOST


def test_a_step_that_fails_on_the_gpu_only_is_traced_there() -> None:
    traces = Traces((None,))
    found, said = traces.run("GPU A")
    assert (traces.places, said) == ([placement.HOST, None], [placement.NOT_ON_HOST])
    assert found.eager_outcome.symptom == "loss"


def test_a_step_that_fails_nowhere_op_by_op_claims_nothing() -> None:
    traces = Traces(())
    found, said = traces.run("GPU A")
    assert (traces.places, said) == ([placement.HOST, None], [])
    assert found.eager_outcome.symptom is None


def test_a_copy_of_a_value_is_not_taken_for_the_value() -> None:
    there = SimpleNamespace(backing_device="/job:localhost/replica:0/task:0/device:GPU:0")
    here = SimpleNamespace(backing_device="/job:localhost/replica:0/task:0/device:CPU:0")
    array = np.asarray([1.0, np.nan, 3.0], np.float32)
    assert not make_finite(there, array)
    assert np.isnan(array[1])
    assert make_finite(here, array)
    assert array.tolist() == [1.0, 2.0, 3.0]


def test_the_child_takes_of_a_card_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    assert Containment().environment("/tmp")["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    monkeypatch.setenv("TF_FORCE_GPU_ALLOW_GROWTH", "false")
    assert Containment().environment("/tmp")["TF_FORCE_GPU_ALLOW_GROWTH"] == "false"
    assert Containment(device="cpu").environment("/tmp")["CUDA_VISIBLE_DEVICES"] == "-1"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    assert Containment().environment("/tmp").get("CUDA_VISIBLE_DEVICES") == hidden
