"""The origin of a failure in many small programs with a planted defect, all in this process."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from forensics.replay.worker.tracing import memory, trace
from tests.replay import planted

pytestmark = pytest.mark.tf
tf: Any = pytest.importorskip("tensorflow")

from tests.replay.programs import origins_models, origins_published, origins_steps  # noqa: E402

PROGRAMS = [
    p for m in (origins_steps, origins_models, origins_published) for p in planted.programs(m)
]


with contextlib.suppress(RuntimeError):  # too late where TensorFlow runs already
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_the_planted_origin_is_named(program: planted.Program) -> None:
    if "two_devices" in program.__name__ and len(tf.config.list_logical_devices("CPU")) < 2:
        pytest.skip("TensorFlow was started with one device")
    assert planted.differences(program, planted.located(program)) == []


def test_a_step_that_outgrows_the_memory_is_traced_on_the_rows_that_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # as if the traces of the whole batches, the healthy and the failing one, outgrew it
    limits = iter([1, 1, *[3] * 20])
    monkeypatch.setattr(trace, "resident", lambda: 2)
    monkeypatch.setattr(trace, "bound", lambda: next(limits))
    found = planted.located(origins_steps.forward_log)
    assert found is not None and found.origin is not None
    assert (found.origin["op_type"], found.rows) == ("Log", [3])
    assert found.trace.degradations == [
        "the step was traced on rows 3 to 5 of its batch, which fail alone: with all of them it "
        "takes more memory than there is"
    ]


def test_the_memory_that_is_left_bounds_a_trace() -> None:
    left = memory.bound()
    if left is None:
        pytest.skip("this system does not tell how much memory is left")
    assert left > memory.resident() > 0
