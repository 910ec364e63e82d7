"""Keras models, each with one planted defect at step 2 (unless its truth says otherwise)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers as kl

from tests.replay.planted import STEP, plant

ROW = 3


def pair(step: int, rows: int = 6, columns: int = 4) -> Any:
    rng = np.random.default_rng(step)
    return rng.random((rows, columns), np.float32) + 0.5, rng.random((rows, 1), np.float32) + 0.5


def x_row(value: float, columns: int = 4) -> Any:
    def batch(step: int) -> Any:
        x, y = pair(step, columns=columns)
        if step == STEP:
            x[ROW] = value
        return x, y

    return batch


def y_row(value: float) -> Any:
    def batch(step: int) -> Any:
        x, y = pair(step)
        if step == STEP:
            y[ROW] = value
        return x, y

    return batch


def compiled(layers: Any, loss: Any = "mse", optimizer: Any = None, **options: Any) -> Any:
    model = keras.Sequential([keras.Input((4,)), *layers], name="net")
    model.compile(optimizer or keras.optimizers.SGD(1e-3), loss=loss, **options)
    return model


class LogLayer(kl.Layer):
    def call(self, x: Any) -> Any:
        return tf.math.log(x)  # in a layer


@plant("Log", layer="logarithm", line="tf.math.log(x)  # in a layer", rows=(ROW,))
def custom_layer() -> dict[str, Any]:
    return {"model": compiled([LogLayer(name="logarithm"), kl.Dense(1)]), "batch": x_row(0.0)}


@plant("Log", phase="loss", line="surprise = tf.math.log(y_true)", rows=(ROW,))
def custom_loss() -> dict[str, Any]:
    def surprise(y_true: Any, y_pred: Any) -> Any:
        surprise = tf.math.log(y_true)
        return tf.reduce_mean(tf.square(surprise - y_pred), axis=-1)

    return {"model": compiled([kl.Dense(1)], surprise), "batch": y_row(0.0)}


@plant(phase="input", rows=(ROW,))
def nan_in_x() -> dict[str, Any]:
    return {"model": compiled([kl.Dense(1)]), "batch": x_row(np.nan)}


class Cleaned(kl.Layer):
    def call(self, x: Any) -> Any:
        return tf.where(tf.math.is_finite(x), x, tf.zeros_like(x))


@plant(phase="input", rows=(ROW,))
def a_bad_label_beside_values_that_the_model_cleans() -> dict[str, Any]:
    def batch(step: int) -> Any:
        x, y = pair(step)
        if step == STEP:
            x[1, 1] = y[ROW] = np.nan
        return x, y

    return {"model": compiled([Cleaned(), kl.Dense(1)]), "batch": batch}


@plant(phase="input", rows=(ROW,))
def infinite_label() -> dict[str, Any]:
    return {"model": compiled([kl.Dense(1)]), "batch": y_row(np.inf)}


@plant("Square", "SquaredDifference", phase="loss", rows=(ROW,))
def a_label_that_overflows_the_square() -> dict[str, Any]:
    return {"model": compiled([kl.Dense(1)]), "batch": y_row(1e25)}


@plant("Square", phase="optimizer", layer="hidden", rows=())
def second_moment_overflows() -> dict[str, Any]:
    def big(y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_mean(y_true * y_pred, axis=-1)

    model = compiled([kl.Dense(2, name="hidden", use_bias=False)], big, keras.optimizers.Adam(1e-3))
    return {"model": model, "batch": y_row(1e22)}


@plant("Cast", phase="loss", layer=None, rows=(ROW,))
def half_precision_loss() -> dict[str, Any]:
    model = keras.Sequential(
        [keras.Input((4,)), kl.Dense(1, dtype="float16", kernel_initializer="ones")], name="net"
    )
    model.compile(keras.optimizers.SGD(1e-4), loss=keras.losses.MeanSquaredError(dtype="float16"))
    return {"model": model, "batch": y_row(1e6)}


@plant("Square", "SquaredDifference", "Mean", layer="norm")
def variance_of_batch_normalisation() -> dict[str, Any]:
    model = compiled([kl.BatchNormalization(name="norm"), kl.Dense(1)])
    return {"model": model, "batch": x_row(1e25)}


@plant("FusedBatchNormV3", "Mean", "SquaredDifference", layer="norm")
def fused_batch_normalisation() -> dict[str, Any]:
    model = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            kl.BatchNormalization(name="norm"),
            kl.GlobalAveragePooling2D(),
            kl.Dense(1),
        ],
        name="net",
    )
    model.compile("sgd", loss="mse")

    def batch(step: int) -> Any:
        x, y = np.random.default_rng(step).random((6, 4, 4, 2), np.float32), pair(step)[1]
        if step == STEP:
            x[ROW] *= 1e25
        return x, y

    return {"model": model, "batch": batch}


class Moments(kl.Layer):
    """Raw fused normalisation, whose further outputs no check looks at."""

    def build(self, shape: Any) -> None:
        self.moving = self.add_weight(shape=(2,), initializer="ones", trainable=False, name="mv")

    def call(self, x: Any) -> Any:
        one, zero = tf.ones((2,)), tf.zeros((2,))
        y, _, variance = tf.compat.v1.nn.fused_batch_norm(x, one, zero, is_training=True)
        self.moving.assign(0.9 * self.moving + 0.1 * variance)
        return tf.clip_by_value(tf.where(tf.math.is_finite(y), y, 0.0), -1.0, 1.0)


@plant("FusedBatchNormV3", layer="moments", line="tf.compat.v1.nn.fused_batch_norm", rows=())
def another_output_of_a_fused_op() -> dict[str, Any]:
    model = keras.Sequential(
        [keras.Input((4, 4, 2)), Moments(name="moments"), kl.GlobalAveragePooling2D(), kl.Dense(1)],
        name="net",
    )
    model.compile("sgd", loss="mse")

    def batch(step: int) -> Any:
        x, y = np.random.default_rng(step).random((6, 4, 4, 2), np.float32), pair(step)[1]
        if step == STEP:
            x[ROW] *= 1e25
        return x, y

    return {"model": model, "batch": batch}


class Repeated(kl.Layer):
    def call(self, x: Any) -> Any:
        total = tf.reduce_sum(x, axis=1)

        def body(i: Any, total: Any) -> Any:
            root = tf.math.log(total)  # in a loop
            return i + 1, root + 2.0 * tf.cast(i < 1, tf.float32)

        return tf.while_loop(lambda i, _: i < 3, body, (tf.constant(0), total))[1][:, None]


@plant(
    "Log", layer="loop", line="tf.math.log(total)  # in a loop", rows=(ROW,), named="iteration 0"
)
def while_loop_in_a_layer() -> dict[str, Any]:
    return {"model": compiled([Repeated(name="loop"), kl.Dense(1)]), "batch": x_row(0.0)}


@tf.function
def helper_of_a_layer(x: Any) -> Any:
    out = x
    for i in tf.range(3):
        if tf.reduce_sum(x) > 0.0:
            out = out + 1.0 / tf.reduce_prod(x, axis=1, keepdims=True) * tf.cast(i, tf.float32)
    return out


class Helped(kl.Layer):
    def call(self, x: Any) -> Any:
        return helper_of_a_layer(x)


@plant(
    "RealDiv", layer="helped", line="out = out + 1.0 / tf.reduce_prod", rows=(ROW,), named="i = 0"
)
def a_function_called_from_a_layer() -> dict[str, Any]:
    return {"model": compiled([Helped(name="helped"), kl.Dense(1)]), "batch": x_row(0.0)}


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = kl.Dense(4, kernel_initializer="identity"), kl.Dense(1)

    def call(self, x: Any) -> Any:
        hidden = self.first(x)
        return self.second(tf.math.rsqrt(hidden))  # in a model


@plant("Rsqrt", layer="subclassed", line="tf.math.rsqrt(hidden))  # in a model", rows=(ROW,))
def subclassed_model() -> dict[str, Any]:
    model = Subclassed()
    model.compile(keras.optimizers.SGD(1e-9), loss="mse")
    return {"model": model, "batch": x_row(0.0)}


class OwnStep(keras.Model):
    def __init__(self) -> None:
        super().__init__(name="own")
        self.dense = kl.Dense(1, kernel_initializer="ones")

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def train_step(self, data: Any) -> Any:
        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            error = tf.math.log(y_pred) - y  # own step
            loss = tf.reduce_mean(error**2)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables))
        return {"loss": loss}


@plant("Log", line="tf.math.log(y_pred) - y  # own step", rows=(ROW,))
def own_train_step() -> dict[str, Any]:
    model = OwnStep()
    model.compile(keras.optimizers.SGD(1e-4))
    return {"model": model, "batch": x_row(-10.0)}


class AddedLoss(kl.Layer):
    def call(self, x: Any) -> Any:
        self.add_loss(tf.reduce_mean(1.0 / tf.reduce_sum(x, axis=1)))
        return x


@plant("RealDiv", layer="added", line="self.add_loss(tf.reduce_mean", rows=(ROW,))
def added_loss() -> dict[str, Any]:
    return {"model": compiled([AddedLoss(name="added"), kl.Dense(1)]), "batch": x_row(0.0)}


class RootPenalty(keras.regularizers.Regularizer):
    def __call__(self, w: Any) -> Any:
        return 0.1 * tf.reduce_sum(tf.sqrt(w - 1.0))


@plant("Sqrt", phase="loss", line="tf.sqrt(w - 1.0)", step=0)
def regularizer() -> dict[str, Any]:
    dense = kl.Dense(
        1, kernel_initializer="zeros", kernel_regularizer=RootPenalty(), name="penalised"
    )
    return {"model": compiled([dense]), "batch": x_row(1.0)}


@plant(phase="input", rows=(ROW,))
def sample_weight() -> dict[str, Any]:
    def batch(step: int) -> Any:
        x, y = pair(step)
        weight = np.ones(6, np.float32)
        if step == STEP:
            weight[ROW] = np.inf
        return x, y, weight

    return {"model": compiled([kl.Dense(1)]), "batch": batch}


def sequences(step: int) -> Any:
    rng = np.random.default_rng(step)
    return rng.random((6, 5, 3), np.float32), rng.random((6, 1), np.float32)


@plant("MatMul", "Mul", "AddV2", "Relu", layer="unit", named="iteration")
def exploding_recurrence() -> dict[str, Any]:
    def batch(step: int) -> Any:
        x, y = sequences(step)
        return (x * 1e37, y) if step == STEP else (x, y)

    model = keras.Sequential(
        [
            keras.Input((5, 3)),
            kl.SimpleRNN(4, activation="relu", kernel_initializer="ones",
                        recurrent_initializer="ones", name="unit"),
            kl.Activation("tanh"),
            kl.Dense(1),
        ]
    )  # fmt: skip
    model.compile("sgd", loss="mse")
    return {"model": model, "batch": batch}


@plant(harmless=True)
def saturated_lstm() -> dict[str, Any]:
    def batch(step: int) -> Any:
        x, y = sequences(step)
        return (x * 1e38, y) if step == STEP else (x, y)

    model = keras.Sequential(
        [keras.Input((5, 3)), kl.LSTM(4, kernel_initializer="ones", name="unit"), kl.Dense(1)]
    )
    model.compile(keras.optimizers.SGD(1e-3), loss="mse")
    model.layers[0].trainable = False
    return {"model": model, "batch": batch}


@plant(harmless=True)
def causal_mask() -> dict[str, Any]:
    class Attention(kl.Layer):
        def call(self, x: Any) -> Any:
            scores = tf.matmul(x, x, transpose_b=True)
            lower = tf.linalg.band_part(tf.ones((5, 5)), -1, 0)
            scores += tf.math.log(lower)
            return tf.matmul(tf.nn.softmax(scores), x)

    model = keras.Sequential(
        [keras.Input((5, 3)), Attention(name="a"), kl.Flatten(), kl.Dense(1)], name="net"
    )
    model.compile("sgd", loss="mse")
    return {"model": model, "batch": sequences}


@plant("Softmax", layer="a", line="tf.nn.softmax(scores)  # padded", rows=(ROW,))
def padded_attention() -> dict[str, Any]:
    class Attention(kl.Layer):
        def call(self, x: Any) -> Any:
            scores = tf.matmul(x, x, transpose_b=True)
            there = tf.reduce_any(x != 0.0, axis=-1)[:, None, :]
            scores = tf.where(there, scores, float("-inf"))
            share = tf.nn.softmax(scores)  # padded
            return tf.matmul(share, x)

    model = keras.Sequential(
        [keras.Input((5, 3)), Attention(name="a"), kl.Flatten(), kl.Dense(1)], name="net"
    )
    model.compile("sgd", loss="mse")

    def batch(step: int) -> Any:
        x, y = sequences(step)
        x[0, 3:] = 0.0
        if step == STEP:
            x[ROW] = 0.0
        return x, y

    return {"model": model, "batch": batch}


@plant(harmless=True)
def a_step_skipped_by_loss_scaling() -> dict[str, Any]:
    optimizer = keras.optimizers.LossScaleOptimizer(
        keras.optimizers.SGD(1e-3), initial_scale=2.0**40
    )
    inputs = keras.Input((4,))
    outputs = kl.Dense(1, dtype="mixed_float16", name="half")(inputs)
    model = keras.Model(inputs, kl.Activation("linear", dtype="float32")(outputs))
    model.compile(optimizer, loss="mse")
    return {"model": model, "batch": x_row(1.0)}


@plant("Log", phase="loss", line="tf.math.log(y_pred)  # mixed", rows=(ROW,))
def mixed_precision_with_loss_scaling() -> dict[str, Any]:
    def negative_log(y_true: Any, y_pred: Any) -> Any:
        logged = tf.math.log(y_pred)  # mixed
        return -tf.reduce_mean(y_true * logged, axis=-1)

    inputs = keras.Input((4,))
    outputs = kl.Dense(1, dtype="mixed_float16", kernel_initializer="ones", name="half")(inputs)
    model = keras.Model(inputs, kl.Activation("linear", dtype="float32")(outputs))
    model.compile(
        keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-4), initial_scale=8.0),
        loss=negative_log,
    )
    return {"model": model, "batch": x_row(-5.0)}


@plant("Log", layer="logarithm", line="tf.math.log(x)  # in a layer", rows=(ROW,))
def several_steps_per_execution() -> dict[str, Any]:
    model = compiled([LogLayer(name="logarithm"), kl.Dense(1)], steps_per_execution=3)
    return {"model": model, "batch": x_row(0.0)}


@plant("Log", layer="logarithm", line="tf.math.log(x)  # in a layer", rows=(ROW,))
def mirrored() -> dict[str, Any]:
    with tf.distribute.MirroredStrategy(["cpu:0"]).scope():
        model = compiled(
            [LogLayer(name="logarithm"), kl.BatchNormalization(), kl.Dense(1)],
            optimizer=keras.optimizers.Adam(1e-3),
        )
    return {"model": model, "batch": x_row(0.0)}


@plant("Log", layer="logarithm", line="tf.math.log(x)  # in a layer")
def mirrored_on_two_devices() -> dict[str, Any]:
    with tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"]).scope():
        model = compiled(
            [LogLayer(name="logarithm"), kl.Dense(1)], optimizer=keras.optimizers.Adam(1e-3)
        )
    return {"model": model, "batch": x_row(0.0)}


@plant("Log", line="tf.math.log(1.0 - judged)", rows=None)
def adversarial_step() -> dict[str, Any]:
    maker = keras.Sequential([keras.Input((4,)), kl.Dense(4, name="made")], name="maker")
    judge = keras.Sequential(
        [keras.Input((4,)), kl.Dense(1, activation="sigmoid", name="judged")], name="judge"
    )
    one, two = keras.optimizers.Adam(1e-4), keras.optimizers.Adam(1e-4)

    @tf.function
    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            judged = judge(maker(x))
            loss = tf.reduce_mean(tf.math.log(1.0 - judged))
        one.apply(tape.gradient(loss, maker.trainable_variables), maker.trainable_variables)
        with tf.GradientTape() as tape:
            real = judge(x)
            other = -tf.reduce_mean(tf.math.log(real + 1e-3))
        two.apply(tape.gradient(other, judge.trainable_variables), judge.trainable_variables)
        return {"loss": loss, "judge": other}

    def batch(step: int) -> Any:
        x = pair(step)[0]
        if step == STEP:
            x *= 1e5
        return x

    maker.layers[0].kernel.assign(np.eye(4))
    judge.layers[0].kernel.assign(np.ones((4, 1)))
    return {
        "step": step, "batch": batch,
        "restore": {"maker": maker, "judge": judge, "one": one, "two": two},
    }  # fmt: skip


@plant("Log", layer="logarithm", line="tf.math.log(x)  # in a layer", rows=(ROW,))
def gradient_accumulation() -> dict[str, Any]:
    model = compiled(
        [LogLayer(name="logarithm"), kl.Dense(1)],
        optimizer=keras.optimizers.Adam(1e-3, gradient_accumulation_steps=2),
    )
    return {"model": model, "batch": x_row(0.0)}


@plant("RealDiv", layer="contrast", line="/ spread  # laundered", rows=(ROW,))
def laundered_by_max_pooling() -> dict[str, Any]:
    class Contrast(kl.Layer):
        def call(self, x: Any) -> Any:
            spread = tf.math.reduce_max(x, axis=1, keepdims=True) - tf.math.reduce_min(
                x, axis=1, keepdims=True
            )
            return (x - tf.reduce_mean(x, 1, keepdims=True)) / spread  # laundered

    model = compiled(
        [
            Contrast(name="contrast"),
            kl.Reshape((4, 1)),
            kl.MaxPooling1D(2),
            kl.Flatten(),
            kl.Dense(1),
        ]
    )

    def batch(step: int) -> Any:
        x, y = pair(step)
        if step == STEP:
            x[ROW] = 1.0
        return x, y

    return {"model": model, "batch": batch}


@plant("DivNoNan", "RealDiv", phase="loss", rows=None)
def masked_loss() -> dict[str, Any]:
    """All rows of the batch are masked, and the program divides by their number."""

    def masked(y_true: Any, y_pred: Any) -> Any:
        there = tf.cast(y_true > 0.0, tf.float32)
        return tf.reduce_sum(there * tf.square(y_true - y_pred)) / tf.reduce_sum(there)

    def batch(step: int) -> Any:
        x, y = pair(step)
        return (x, y * 0.0) if step == STEP else (x, y)

    return {"model": compiled([kl.Dense(1)], masked), "batch": batch}


@plant("SparseSoftmaxCrossEntropyWithLogits", phase="loss", line=None)
def label_out_of_range() -> dict[str, Any]:
    def batch(step: int) -> Any:
        x, y = pair(step)
        return x, (y[:, 0] * 0 + (9 if step == STEP else 1)).astype(int)

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return {"model": compiled([kl.Dense(3)], loss), "batch": batch}


@plant("GatherV2", "ResourceGather", layer="words")
def a_word_out_of_range() -> dict[str, Any]:
    model = keras.Sequential([keras.Input((4,)), kl.Embedding(10, 2, name="words"), kl.Flatten(),
                              kl.Dense(1)], name="net")  # fmt: skip
    model.compile("sgd", loss="mse")

    def batch(step: int) -> Any:
        x = np.ones((6, 4), np.int32)
        if step == STEP:
            x[ROW] = 12
        return x, pair(step)[1]

    return {"model": model, "batch": batch}


@plant("Square", phase="optimizer", layer="hidden", rows=())
def an_optimizer_of_a_loop() -> dict[str, Any]:
    dense, optimizer = kl.Dense(2, name="hidden", use_bias=False), keras.optimizers.Adam(1e-3)
    dense.build((None, 4))

    @tf.function
    def step(data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(dense(data[0]) * data[1])
        optimizer.apply_gradients(
            zip(
                tape.gradient(loss, dense.trainable_variables),
                dense.trainable_variables,
                strict=True,
            )
        )
        return loss

    return {"step": step, "batch": y_row(1e22), "restore": {"d": dense, "o": optimizer}}


@plant("Square", phase="optimizer", layer="*", line="tf.square(slope)")
def a_hand_written_optimizer() -> dict[str, Any]:
    dense = kl.Dense(2, name="hidden", use_bias=False)
    dense.build((None, 4))
    moment = tf.Variable(tf.zeros((4, 2)), name="moment")

    @tf.function
    def step(data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(dense(data[0]) * data[1])
        slope = tape.gradient(loss, dense.kernel)
        moment.assign(0.9 * moment + 0.1 * tf.square(slope))
        dense.kernel.assign_sub(1e-3 * slope / (tf.sqrt(moment) + 1e-7))
        return loss

    return {"step": step, "batch": y_row(1e22), "restore": {"d": dense, "m": moment}}


@plant(phase="input", rows=(ROW,))
def a_bad_value_of_the_pipeline() -> dict[str, Any]:
    x = np.stack([pair(i)[0] for i in range(4)]).reshape(-1, 4)
    x[STEP * 6 + ROW] = -1.0
    data = tf.data.Dataset.from_tensor_slices((x, np.ones((24, 1), np.float32)))
    data = data.map(lambda x, y: (tf.math.log(x), y)).batch(6)
    return {"model": compiled([kl.Dense(1)]), "dataset": data}


def words(step: int) -> Any:
    x = np.random.default_rng(step).integers(0, 10, (6, 4))
    return x, pair(step)[1]


@plant("Square", "Mul", phase="optimizer", layer="words")
def sparse_gradients_overflow_in_the_optimizer() -> dict[str, Any]:
    def batch(step: int) -> Any:
        x, y = words(step)
        return (x, y * 1e23) if step == STEP else (x, y)

    def big(y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_mean(y_true * y_pred, axis=-1)

    layers = [keras.Input((4,)), kl.Embedding(10, 2, name="words"), kl.Flatten(), kl.Dense(1)]
    model = keras.Sequential(layers, name="net")
    model.layers[-1].trainable = False
    model.compile(keras.optimizers.Adam(1e-3), loss=big)
    return {"model": model, "batch": batch}


@plant("RealDiv", phase="optimizer", layer="idle", step=0)
def an_epsilon_of_zero() -> dict[str, Any]:
    """A weight whose gradient is zero divides zero by zero."""
    inputs = keras.Input((4,))
    idle = kl.Dense(1, name="idle", use_bias=False)(inputs * 0.0)
    model = keras.Model(inputs, kl.Dense(1, name="busy")(inputs) + idle, name="net")
    model.compile(keras.optimizers.Adam(1e-3, epsilon=0.0), loss="mse")
    return {"model": model, "batch": pair}


@plant("ReadVariableOp", phase="state", layer="adam")
def a_slot_that_is_bad_already() -> dict[str, Any]:
    model = compiled([kl.Dense(1, name="out")], optimizer=keras.optimizers.Adam(1e-3))

    def batch(step: int) -> Any:
        if step == STEP:
            momentum = model.optimizer.variables[2]
            momentum.assign(momentum * np.nan)
        return pair(step)

    return {"model": model, "batch": batch}


@plant(harmless=True)
def a_metric_of_nothing() -> dict[str, Any]:
    def share(y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_sum(y_pred * 0.0) / tf.reduce_sum(y_true * 0.0)

    model = compiled([kl.Dense(1)], metrics=[share])
    return {"model": model, "batch": x_row(1.0)}


@plant("Log", layer="logarithm", line="tf.math.log(x)  # in a layer", rows=(ROW,))
def a_model_in_a_model() -> dict[str, Any]:
    inner = keras.Sequential([keras.Input((4,)), LogLayer(name="logarithm")], name="inner")
    return {"model": compiled([inner, kl.Dense(1)]), "batch": x_row(0.0)}


@plant("Log", phase="loss", line="tf.math.log(one + 0.0)", rows=(ROW,))
def one_of_two_outputs() -> dict[str, Any]:
    def first(y_true: Any, one: Any) -> Any:
        logged = tf.math.log(one + 0.0)
        return tf.reduce_mean(y_true * logged, axis=-1)

    inputs = keras.Input((4,))
    outputs = {
        "one": kl.Dense(1, kernel_initializer="ones", name="one")(inputs),
        "two": kl.Dense(1, name="two")(inputs),
    }
    model = keras.Model(inputs, outputs, name="net")
    model.compile(keras.optimizers.SGD(1e-4), loss={"one": first, "two": "mse"})

    def batch(step: int) -> Any:
        x, y = x_row(-5.0)(step)
        return x, {"one": y, "two": y}

    return {"model": model, "batch": batch}


@plant("Log", layer="logarithm", line="tf.math.log(x)  # in a layer", rows=(ROW,))
def a_layer_that_is_shared() -> dict[str, Any]:
    shared, left, right = LogLayer(name="logarithm"), keras.Input((4,)), keras.Input((4,))
    model = keras.Model([left, right], kl.Dense(1)(shared(left) + shared(right)), name="net")
    model.compile(keras.optimizers.SGD(1e-4), loss="mse")

    def batch(step: int) -> Any:
        x, y = x_row(0.0)(step)
        return (pair(step)[0], x), y

    return {"model": model, "batch": batch}
