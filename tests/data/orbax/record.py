"""Record the Orbax fixtures: run with jax, orbax-checkpoint and tensorstore installed.

python record.py OUT: writes OUT/NAME.zip, each a checkpoint and ``truth.json`` with name, shape,
dtype and SHA-256 of the little-endian bytes of every array as Orbax or TensorStore reads it.
"""

import hashlib
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
os.environ.setdefault("KERAS_BACKEND", "jax")
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import tensorstore as ts
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

OUT = Path(sys.argv[1])
K = jnp.arange(24, dtype=jnp.float32).reshape(6, 4)
MESH = Mesh(np.array(jax.devices()), ("x",))
ROWS, COLUMNS = (jax.device_put(K, NamedSharding(MESH, s)) for s in (P("x"), P(None, "x")))
TREE = {
    "params": {
        "dense": {
            "kernel": ROWS,
            "columns": COLUMNS,
            "bias": jnp.array([1.0, jnp.nan, jnp.inf, 0.0], jnp.bfloat16),
            "eighth": jnp.array([1.0, 2.0], jnp.float8_e4m3fn),
        },
    },
    "opt_state": [{"mu": K * 2, "count": jnp.int32(5)}, ()],
    "step": jnp.int32(7),
    "flags": jnp.array([True, False]),
    "zeros": jnp.zeros((4, 4)),
    "complex": jnp.array([1 + 2j], jnp.complex64),
    "nothing": None,
    "four": jnp.array([1, 2, 3], jnp.int4),
    "half": jnp.array([1.5, -2], jnp.float16),
}


def truth_of(name, array):
    array = np.asarray(array)
    little = array.astype(array.dtype.newbyteorder("<")) if array.dtype.kind in "iufc" else array
    return {
        "name": name,
        "shape": list(array.shape),
        "dtype": array.dtype.name,
        "sha256": hashlib.sha256(np.ascontiguousarray(little).tobytes()).hexdigest(),
    }


def leaves(tree):
    flat, _ = jax.tree_util.tree_flatten_with_path(tree)
    for path, leaf in flat:
        yield "/".join(str(getattr(p, "key", getattr(p, "idx", p))) for p in path), leaf


def pack(name, folder, truth):
    (folder / "truth.json").write_text(json.dumps(sorted(truth, key=lambda t: t["name"]), indent=1))
    with zipfile.ZipFile(OUT / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.writestr(
                    zipfile.ZipInfo(str(file.relative_to(folder)), (1980, 1, 1, 0, 0, 0)),
                    file.read_bytes(),
                    zipfile.ZIP_DEFLATED,
                )


def checkpointer(name, chunked=False, **kw):
    folder = Path(tempfile.mkdtemp())
    tree = {"kernel": ROWS, "n": np.arange(5)} if chunked else TREE
    saver = ocp.Checkpointer(ocp.PyTreeCheckpointHandler(**kw))
    args = {}
    if chunked:
        args["save_args"] = jax.tree.map(lambda _: ocp.SaveArgs(chunk_byte_size=32), tree)
    saver.save(folder / "step_7", args=ocp.args.PyTreeSave(tree, **args))
    restored = saver.restore(
        folder / "step_7",
        args=ocp.args.PyTreeRestore(
            restore_args=jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        ),
    )
    pack(name, folder, [truth_of(n, x) for n, x in leaves(restored)])


def manager(name):
    folder = Path(tempfile.mkdtemp())
    saver = ocp.CheckpointManager(folder / "run")
    for step in (3, 7):
        saver.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave({"params": {"w": K + step}, "step": jnp.int32(step)}),
                extra=ocp.args.JsonSave({"note": "hello"}),
            ),
        )
    saver.wait_until_finished()
    saver.close()
    pack(
        name,
        folder,
        [truth_of(n, x) for n, x in leaves({"params": {"w": K + 7}, "step": jnp.int32(7)})],
    )


def keras_callback(name):
    import keras

    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, activation="relu"), keras.layers.Dense(1)]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse")
    folder = Path(tempfile.mkdtemp())
    model.fit(
        np.ones((8, 3)),
        np.ones((8, 1)),
        batch_size=4,
        epochs=2,
        verbose=0,
        callbacks=[
            keras.callbacks.OrbaxCheckpoint(
                folder / "run", max_to_keep=None, save_on_background=False
            )
        ],
    )
    restored = ocp.Checkpointer(ocp.PyTreeCheckpointHandler()).restore(
        folder / "run" / "1" / "pytree"
    )
    pack(name, folder, [truth_of(n, x) for n, x in leaves(restored)])


def database(name, **config):
    """A database with several levels of nodes and values in and out of them."""
    folder = Path(tempfile.mkdtemp())
    base = {"driver": "file", "path": f"{folder}/db/"}
    store = ts.KvStore.open({"driver": "ocdbt", "base": base, "config": config}).result()
    truth = {}
    for first in range(0, 60, 12):  # Each transaction is a version.
        with ts.Transaction() as transaction:
            for number in range(first, first + 12):
                key, value = f"layer_{number % 7}/array.{number}", bytes([number]) * (number % 23)
                store.with_transaction(transaction).write(key.encode(), value).result()
                truth[key] = value.hex()
    store.delete_range(ts.KvStore.KeyRange(b"layer_6/", b"layer_6/~")).result()
    truth = {k: v for k, v in truth.items() if not k.startswith("layer_6/")}
    (folder / "truth.json").write_text(json.dumps(truth, indent=0))
    with zipfile.ZipFile(OUT / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.writestr(
                    zipfile.ZipInfo(str(file.relative_to(folder)), (1980, 1, 1, 0, 0, 0)),
                    file.read_bytes(),
                    zipfile.ZIP_DEFLATED,
                )


OUT.mkdir(parents=True, exist_ok=True)
if (
    os.environ["KERAS_BACKEND"] == "tensorflow"
):  # Keras hands plain numbers to Orbax for its scalars.
    keras_callback("keras_tensorflow")
    sys.exit()
checkpointer("database_zarr2")
checkpointer("database_zarr3", use_zarr3=True)
checkpointer("folders_zarr2", use_ocdbt=False)
checkpointer("folders_zarr3", use_ocdbt=False, use_zarr3=True)
checkpointer("chunked_database_zarr3", chunked=True, use_zarr3=True)
checkpointer("chunked_folders_zarr2", chunked=True, use_ocdbt=False)
manager("manager")
keras_callback("keras")
database("tree", max_inline_value_bytes=12, max_decoded_node_bytes=300, version_tree_arity_log2=1)
database(
    "numbered",
    max_inline_value_bytes=12,
    max_decoded_node_bytes=300,
    version_tree_arity_log2=4,
    manifest_kind="numbered",
    compression=None,
)
