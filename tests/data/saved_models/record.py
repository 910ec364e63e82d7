"""Record the SavedModel fixtures.

python record.py OUT NAME: NAME is ``keras2`` or ``estimator`` (TensorFlow 2.15) or ``keras3``
(2.21). Writes OUT/NAME.zip: models, event files, and ``truth.json`` with shape, dtype and SHA-256
of the little-endian bytes of every variable as ``tf.train.load_checkpoint`` reads it.
"""

import hashlib
import json
import os
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf

OUT, NAME = Path(sys.argv[1]), sys.argv[2]
FOLDER = Path(tempfile.mkdtemp())
X, Y = np.random.rand(16, 4).astype("float32"), np.random.randint(0, 3, (16,)).astype("int32")


def keras_model():
    tf.keras.utils.set_random_seed(1)
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Input((4,)),
            tf.keras.layers.Dense(8, activation="relu"),
            tf.keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(
        tf.keras.optimizers.Adam(0.002), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    board = tf.keras.callbacks.TensorBoard(str(FOLDER / "logs"), write_graph=True)
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0, callbacks=[board])
    return model


def keras2():
    model = keras_model()
    model.save(str(FOLDER / "model_2"), save_format="tf")
    model.export(str(FOLDER / "export_2"))


def keras3():
    model = keras_model()
    model.export(str(FOLDER / "export_2"), verbose=False)
    tf.saved_model.save(model, str(FOLDER / "model_2"))


def estimator():
    v1 = tf.compat.v1

    def model_fn(features, labels, mode):
        hidden = v1.layers.dense(features["x"], 4, activation=tf.nn.relu, name="hidden")
        logits = v1.layers.dense(hidden, 3, name="out")
        if mode == "infer":
            export = {"serving_default": tf.estimator.export.PredictOutput({"p": logits})}
            return tf.estimator.EstimatorSpec(
                mode, predictions={"p": logits}, export_outputs=export
            )
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        )
        train = v1.train.MomentumOptimizer(0.05, 0.9).minimize(loss, v1.train.get_global_step())
        return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)

    def batches():
        return (
            tf.data.Dataset.from_tensor_slices(({"x": X}, Y)).repeat().batch(8, drop_remainder=True)
        )

    def serving():
        inputs = {"x": v1.placeholder(tf.float32, [None, 4])}
        return tf.estimator.export.ServingInputReceiver(inputs, inputs)

    made = tf.estimator.Estimator(model_fn, str(FOLDER / "logs"))
    made.train(batches, steps=20)
    made.export_saved_model(str(FOLDER / "export"), serving)


{"keras2": keras2, "keras3": keras3, "estimator": estimator}[NAME]()
truth = {}
for index in sorted(FOLDER.rglob("*.index")):
    reader = tf.train.load_checkpoint(str(index)[: -len(".index")])
    shapes = reader.get_variable_to_shape_map()
    truth[index.relative_to(FOLDER).as_posix()[: -len(".index")]] = {
        name: {
            "shape": shapes[name],
            "dtype": reader.get_variable_to_dtype_map()[name].name,
            "sha256": hashlib.sha256(np.asarray(reader.get_tensor(name)).tobytes()).hexdigest(),
        }
        for name in sorted(shapes)
        if reader.get_variable_to_dtype_map()[name] != tf.string
    }
(FOLDER / "truth.json").write_text(json.dumps(truth, indent=0))
OUT.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(OUT / f"{NAME}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for file in sorted(FOLDER.rglob("*")):
        if file.is_file() and "pbtxt" not in file.name and "ckpt-0" not in file.name:
            name = zipfile.ZipInfo(file.relative_to(FOLDER).as_posix(), (1980, 1, 1, 0, 0, 0))
            archive.writestr(name, file.read_bytes(), zipfile.ZIP_DEFLATED)
