"""Record checkpoints of older Orbax: ``python record_old.py OUT NAME``.

``orbax_0_2``: orbax-checkpoint 0.2.7, jax 0.4.13; ``orbax_0_5``: 0.5.20, jax 0.4.30. Both kept the
tree, and leaves that were to be aggregated, in a file ``checkpoint``.
"""

import hashlib
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

OUT, NAME = Path(sys.argv[1]), sys.argv[2]
KERNEL = jnp.arange(24, dtype=jnp.float32).reshape(6, 4)
TREE = {
    "params": {"dense": {"kernel": KERNEL, "bias": jnp.array([1.0, jnp.nan], jnp.bfloat16)}},
    "opt_state": [{"mu": KERNEL * 2}, ()],
    "ema": {"kernel": KERNEL + 1, "half": jnp.array([1.0, 2.0], jnp.float16)},
    "step": jnp.int32(7),
    "count": 4,
    "zeros": jnp.zeros((4, 4)),
}


def arguments(path, _):
    inside = str(path[0]) == "['ema']" or str(path[0]) == "['count']"
    return ocp.SaveArgs(aggregate=inside)


folder = Path(tempfile.mkdtemp())
saver = ocp.Checkpointer(ocp.PyTreeCheckpointHandler())
saver.save(folder / "step_7", TREE, save_args=jax.tree_util.tree_map_with_path(arguments, TREE))
restored = saver.restore(folder / "step_7")
flat, _ = jax.tree_util.tree_flatten_with_path(restored)
truth = []
for path, leaf in flat:
    array = np.asarray(leaf)
    truth.append({
        "name": "/".join(str(getattr(p, "key", getattr(p, "idx", p))) for p in path),
        "shape": list(array.shape), "dtype": array.dtype.name,
        "sha256": hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest(),
    })  # fmt: skip
(folder / "truth.json").write_text(json.dumps(sorted(truth, key=lambda t: t["name"]), indent=1))
with zipfile.ZipFile(OUT / f"{NAME}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            name = zipfile.ZipInfo(str(file.relative_to(folder)), (1980, 1, 1, 0, 0, 0))
            archive.writestr(name, file.read_bytes(), zipfile.ZIP_DEFLATED)
