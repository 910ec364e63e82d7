"""A checkpoint of many tensors, written by TensorFlow in a child process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_WRITE = """
import sys
import numpy as np, tensorflow as tf
prefix, size = sys.argv[1], int(sys.argv[2])
block = np.random.default_rng(0).normal(size=4 << 20).astype(np.float32)
block[::1009] = 0.0
shares = [(tf.float32, 0.5), (tf.float16, 0.25), (tf.bfloat16, 0.25)]
names, tensors = [], []
for dtype, share in shares:
    wide = tf.cast(block, dtype)
    left = int(size * share / dtype.size)
    small = [min(4096, left // 2000)] * 680
    large = left - sum(small)
    counts = small + [4 << 20] * (large // (4 << 20)) + [large % (4 << 20)]
    for index, count in enumerate(c for c in counts if c):
        names.append(f"{dtype.name}/layer_{index}/kernel")
        tensors.append(wide[:count])
tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names),
                  tensors=tensors)
print(len(names))
"""


def write_checkpoint(folder: Path, size: int) -> int:
    """A bundle of about `size` bytes: half float32, a quarter each float16 and bfloat16.

    Two thousand small tensors, the rest in tensors of four million elements. Returns how many.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", _WRITE, str(folder / "ckpt-1"), str(size)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout)
