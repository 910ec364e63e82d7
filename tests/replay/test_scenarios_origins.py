"""The origin of a failure in many small programs with a planted defect, all in this process."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

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
