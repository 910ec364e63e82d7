"""Record small checkpoints with TensorFlow 2.15: Estimator, Keras 2 weights, Saver V1 and V2.

Run with an interpreter that has tensorflow 2.15: ``python record.py FOLDER``. What
TensorFlow reads back is written beside them: name -> [dtype, shape, SHA-256 of the bytes, or null].
"""

import hashlib
import json
import os
import re
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf

v1 = tf.compat.v1


def estimator(folder):
    def model(features, labels, mode):
        hidden = v1.layers.dense(features["x"], 3, activation=tf.nn.relu, name="hidden")
        loss = tf.reduce_mean((v1.layers.dense(hidden, 1, name="out") - labels) ** 2)
        train = v1.train.AdamOptimizer(0.01).minimize(loss, v1.train.get_global_step())
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)

    def data():
        x = np.linspace(0, 1, 32, dtype=np.float32).reshape(16, 2)
        return tf.data.Dataset.from_tensor_slices(({"x": x}, x[:, :1])).repeat().batch(4)

    config = tf.estimator.RunConfig(str(folder), save_checkpoints_steps=3, tf_random_seed=1)
    tf.estimator.Estimator(model, config=config).train(data, steps=5)
    kept = re.compile(r"model\.ckpt-[35]\.(index|data)")
    for path in folder.iterdir():
        if path.is_file() and not kept.match(path.name):
            path.unlink()


def keras(folder):
    tf.keras.utils.set_random_seed(1)
    model = tf.keras.Sequential(
        [tf.keras.layers.Dense(3, input_shape=(2,)), tf.keras.layers.BatchNormalization()]
    )
    model.compile(tf.keras.optimizers.Adam(0.01), "mse")
    model.fit(np.ones((8, 2)), np.ones((8, 3)), batch_size=4, verbose=0)
    model.save_weights(str(folder / "weights"), save_format="tf")


def saver(folder, version):
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(1)
        v1.get_variable("w", [20, 40], partitioner=lambda shape, dtype: [1, 2])
        v1.get_variable("same", [16, 16], initializer=v1.ones_initializer())
        v1.get_variable("half", [3], tf.float16, initializer=v1.ones_initializer())
        v1.get_variable("count", [], tf.int64, initializer=v1.constant_initializer(-5))
        v1.get_variable("flags", [9], tf.bool, initializer=v1.constant_initializer(True))
        v1.get_variable("bytes", [5], tf.uint8, initializer=v1.constant_initializer(200))
        v1.get_variable("complex", [2], tf.complex64, initializer=v1.constant_initializer(1 - 2j))
        tf.Variable(["a", "bc"], name="text")
        session.run(v1.global_variables_initializer())
        path = str(folder / "model.ckpt")
        v1.train.Saver(write_version=version).save(session, path, 7, write_meta_graph=False)


def described(prefix):
    reader, found = tf.train.load_checkpoint(prefix), {}
    for name, dtype in sorted(reader.get_variable_to_dtype_map().items()):
        shape = reader.get_variable_to_shape_map()[name]
        try:
            value = reader.get_tensor(name)
        except tf.errors.UnimplementedError:  # TensorFlow cannot read what it wrote.
            found[name] = [dtype.name, shape, None]
            continue
        raw = b"\0".join(np.ravel(value).tolist()) if dtype == tf.string else value.tobytes()
        found[name] = [dtype.name, shape, hashlib.sha256(raw).hexdigest()]
    return found


def main():
    root, found = Path(sys.argv[1]), {}
    for name, write, prefix in (
        ("estimator", estimator, "model.ckpt-5"),
        ("keras2", keras, "weights"),
        ("saver_v1", lambda f: saver(f, v1.train.SaverDef.V1), "model.ckpt-7"),
        ("saver_v2", lambda f: saver(f, v1.train.SaverDef.V2), "model.ckpt-7"),
    ):
        folder = root / name
        folder.mkdir(parents=True)
        write(folder)
        (folder / "checkpoint").unlink(missing_ok=True)
        found[f"{name}/{prefix}"] = described(str(folder / prefix))
    (root / "expected.json").write_text(json.dumps(found, indent=1))


main()
