"""A recorder that is killed at any moment leaves a recording that can be replayed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

KEEP, EVERY = 3, 5
WRITES = f"""
import sys
from pathlib import Path
import numpy as np
from forensics.recorder.files import write_npz
from forensics.recorder.ring import Ring

ring = Ring(Path(sys.argv[1]), {KEEP}, {EVERY})
ring.open()
for step in range(10**9):
    if ring.wants_state(step):
        write_npz(ring.state_path(step), {{str(i): np.full(5000, step) for i in range(8)}})
        ring.added_state(step)
    write_npz(ring.batch_path(step), {{"x": np.full(9000, step)}})
    ring.added_batch(step)
    print(step, flush=True)
"""
TRAINS = """
import sys
import keras, numpy as np
import forensics

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
model.compile("adam", "mse")
recorder = forensics.FlightRecorder(sys.argv[1], keep=3, every=5)

class Say(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        print(batch, flush=True)

x = np.ones((800_000, 4), np.float32)
model.fit(x, x[:, :3], batch_size=8, verbose=0, callbacks=[recorder, Say()])
"""


def kill(program: str, folder: Path, steps: int, pause: float = 0.0) -> None:
    """Run a program and kill it some seconds after it has told a number of steps, while it writes.

    It is not asked for more than it tells: on a slow machine it is killed later.
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]),
                   "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        for step in range(steps):
            assert process.stdout.readline() == f"{step}\n"
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)


def replayable(folder: Path) -> list[int]:
    """Read every file whole; return the steps of the batches, which follow on from a state."""
    for file in folder.glob("*.npz"):
        with np.load(file, allow_pickle=False) as arrays:
            for name in arrays:
                arrays[name]
    batches, states = steps(folder, "batch"), steps(folder, "state")
    assert batches == list(range(batches[0], batches[-1] + 1))
    first = next(s for s in states if s >= batches[0])
    assert first <= max(0, batches[-1] - KEEP)
    assert len(batches) <= EVERY + KEEP + 1
    return batches


def steps(folder: Path, kind: str) -> list[int]:
    return sorted(int(f.stem.split("-")[1]) for f in folder.glob(f"{kind}-*.npz"))


def test_files_are_whole_after_every_kill(tmp_path: Path) -> None:
    rng = random.Random(5)
    for number, steps in enumerate([1, 2, 5, 6, 7, 11, 16, 21, 26, 31, 41, 61]):
        folder = tmp_path / str(number)
        # anywhere within the steps that follow
        kill(WRITES, folder, steps, 0.01 * rng.random())
        assert replayable(folder)[-1] >= steps - 1


@pytest.mark.tf
def test_a_training_that_is_killed_was_recorded_to_its_last_step(tmp_path: Path) -> None:
    from forensics import read
    from forensics.domain.quantity import Quantity
    from forensics.domain.run import CheckpointStatus

    kill(TRAINS, tmp_path, 40)
    last = replayable(tmp_path / "flight")[-1]
    assert last >= 39
    run = read(tmp_path)
    loss = run.of(Quantity.TRAIN_LOSS)[0]
    assert loss.steps[-1] in (last, last - 1), "logged to the step that was running"
    states = [c for c in run.checkpoint_stats if c.path.startswith("flight/state")]
    assert states and all(c.status is CheckpointStatus.CLEAN for c in states)
