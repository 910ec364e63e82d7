"""Mechanisms of published failures, each a small program with one planted defect at step 2."""

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


def spoiled(change: Any, columns: int = 4) -> Any:
    """Change the batch of the failing step in place."""

    def batch(step: int) -> Any:
        x, y = pair(step, columns=columns)
        if step == STEP:
            change(x, y)
        return x, y

    return batch


def set_row(value: float) -> Any:
    def change(x: Any, y: Any) -> None:
        x[ROW] = value

    return change


def looped(model: Any, loss_of: Any, batch: Any, rate: float = 1e-4) -> dict[str, Any]:
    """Train a model in a custom loop with Adam."""
    optimizer = keras.optimizers.Adam(rate)

    @tf.function
    def step(data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(model, *data)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return {"step": step, "batch": batch, "restore": {"model": model, "optimizer": optimizer}}


def dense(units: int = 4, **options: Any) -> Any:
    options.setdefault("kernel_initializer", "identity")
    return keras.Sequential([keras.Input((4,)), kl.Dense(units, name="out", **options)], name="net")


@plant("Exp", line="tf.exp(log_variance)  # latent", rows=(ROW,))
def variational_log_variance() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        log_variance = model(x)
        variance = tf.exp(log_variance)  # latent
        return 0.5 * tf.reduce_mean(variance - 1.0 - log_variance)

    return looped(dense(), loss, spoiled(set_row(200.0)))


@plant("Exp", layer="sampling", line="tf.exp(0.5 * logvar)", rows=(ROW,))
def variational_sampling_layer() -> dict[str, Any]:
    class Sampling(kl.Layer):
        def call(self, inputs: Any) -> Any:
            mean, logvar = inputs
            noise = tf.random.normal(tf.shape(mean), seed=1)
            return mean + tf.exp(0.5 * logvar) * noise

    inputs = keras.Input((4,))
    mean = kl.Dense(2, name="mean")(inputs)
    logvar = kl.Dense(2, kernel_initializer="ones", name="logvar")(inputs)
    outputs = kl.Dense(1)(Sampling(name="sampling")([mean, logvar]))
    model = keras.Model(inputs, outputs, name="vae")
    model.compile(keras.optimizers.Adam(1e-4), loss="mse")
    return {"model": model, "batch": spoiled(set_row(500.0))}


@plant("SqrtGrad", phase="backward", line="tf.sqrt(squared)  # distance", forward_op="Sqrt")
def contrastive_distance() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        left, right = model(x), model(x + y)
        squared = tf.reduce_sum(tf.square(left - right), axis=1)
        distance = tf.sqrt(squared)  # distance
        return tf.reduce_mean(tf.square(tf.maximum(1.0 - distance, 0.0)))

    def same(x: Any, y: Any) -> None:
        y[ROW] = 0.0

    return looped(dense(), loss, spoiled(same))


@plant("RealDiv", line="/ lengths", rows=(ROW,))
def cosine_similarity_by_hand() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        z = model(x)
        lengths = tf.stop_gradient(tf.norm(z, axis=1, keepdims=True))
        unit = z / lengths
        return tf.reduce_mean(unit * x)

    return looped(dense(use_bias=False), loss, spoiled(set_row(0.0)))


@plant("SqrtGrad", "RealDiv", "Mul", phase="backward", line="tf.norm(z, axis=1)")
def gradient_of_a_norm() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        z = model(x)
        lengths = tf.norm(z, axis=1)
        return tf.reduce_mean(lengths)

    return looped(dense(use_bias=False), loss, spoiled(set_row(0.0)))


@plant("RealDiv", line="intersection / union")
def dice_of_nothing() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        guess = tf.nn.relu(model(x))
        intersection = 2.0 * tf.reduce_sum(guess * y)
        union = tf.reduce_sum(guess) + tf.reduce_sum(y)
        return 1.0 - intersection / union

    def empty(x: Any, y: Any) -> None:
        x[:] = 0.0
        y[:] = 0.0

    return looped(dense(use_bias=False), loss, spoiled(empty))


@plant("Log", line="tf.math.log(1.0 - p)", rows=(ROW,))
def focal_loss() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        p = tf.sigmoid(model(x))
        negative = tf.math.log(1.0 - p)
        return -tf.reduce_mean(tf.pow(p, 2.0) * negative)

    return looped(dense(), loss, spoiled(set_row(100.0)))


@plant("Pow", phase="backward", line="tf.pow(1.0 - p, 0.5)", forward_op="Pow", rows=(ROW,))
def focal_power_whose_slope_is_infinite() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        p = model(x)
        easy = tf.pow(1.0 - p, 0.5)
        return tf.reduce_mean(easy)

    def batch(step: int) -> Any:
        x, y = pair(step)
        x -= 0.5
        if step == STEP:
            x[ROW] = 1.0
        return x, y

    return looped(dense(use_bias=False), loss, batch, rate=0.0)


@plant("Log", line="log_probability = tf.math.log(chosen)", rows=(ROW,))
def policy_gradient() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        probabilities = tf.nn.softmax(model(x))
        chosen = tf.reduce_sum(probabilities * tf.one_hot([0] * 6, 4), axis=1)
        log_probability = tf.math.log(chosen)
        return -tf.reduce_mean(log_probability * y[:, 0])

    def certain(x: Any, y: Any) -> None:
        x[ROW] = [-200.0, 0.0, 0.0, 200.0]

    return looped(dense(), loss, spoiled(certain))


@plant("Exp", line="ratio = tf.exp(new - old)", rows=(ROW,))
def proximal_policy_ratio() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        new, old = model(x), tf.stop_gradient(0.1 * x)
        ratio = tf.exp(new - old)
        return tf.reduce_mean(ratio * y)

    return looped(dense(), loss, spoiled(set_row(300.0)))


@plant("Log", line="tf.math.log(density)", rows=(ROW,))
def mixture_density_network() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        mean, scale = model(x), tf.constant(0.05)
        shape = tf.exp(-0.5 * tf.square((y - mean) / scale)) / scale
        density = tf.reduce_sum(0.25 * shape, axis=1)
        return -tf.reduce_mean(tf.math.log(density))

    return looped(dense(), loss, spoiled(set_row(50.0)))


@plant("Cholesky", line="tf.linalg.cholesky(kernel - ")
def gaussian_process() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        z = model(x)
        kernel = tf.matmul(z, z, transpose_b=True) + 0.1 * tf.eye(6)
        factor = tf.linalg.cholesky(kernel - y[0, 0] * tf.eye(6))
        return tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)))

    def no_longer_positive(step: int) -> Any:
        x, y = pair(step)
        y[0, 0] = 5.0 if step == STEP else 0.0
        return x, y

    return looped(dense(), loss, no_longer_positive)


@plant("Exp", "Lgamma", "Log", phase="loss", rows=None)
def poisson_of_a_negative_rate() -> dict[str, Any]:
    model = dense(1, kernel_initializer="ones", use_bias=False)
    model.compile(keras.optimizers.SGD(1e-5), loss=keras.losses.Poisson())

    def negative(x: Any, y: Any) -> None:
        x[ROW] = -1.0

    return {"model": model, "batch": spoiled(negative)}


@plant("Lgamma", line="tf.math.lgamma(counts)", rows=(ROW,))
def negative_binomial() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        rate = tf.nn.softplus(model(x))
        counts = y + rate * 0.0
        penalty = tf.math.lgamma(counts)
        return tf.reduce_mean(rate + penalty)

    def zero(x: Any, y: Any) -> None:
        y[ROW] = 0.0

    return looped(dense(), loss, spoiled(zero))


@plant("Log", line="tf.math.log(tf.exp(scale) - 1.0)", rows=(ROW,))
def inverse_of_softplus() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        scale = model(x)
        raw = tf.math.log(tf.exp(scale) - 1.0)
        return tf.reduce_mean(raw)

    return looped(dense(use_bias=False), loss, spoiled(set_row(0.0)))


@plant("RealDiv", layer="group_norm", line="tf.reshape((groups - mean) / spread", rows=(ROW,))
def group_normalisation() -> dict[str, Any]:
    class GroupNorm(kl.Layer):
        def call(self, x: Any) -> Any:
            groups = tf.reshape(x, (-1, 2, 2))
            mean = tf.reduce_mean(groups, -1, keepdims=True)
            spread = tf.sqrt(tf.stop_gradient(tf.math.reduce_variance(groups, -1, keepdims=True)))
            return tf.reshape((groups - mean) / spread, (-1, 4))  # group

    model = keras.Sequential([keras.Input((4,)), GroupNorm(name="group_norm"), kl.Dense(1)])
    model.compile("sgd", loss="mse")
    return {"model": model, "batch": spoiled(set_row(1.0))}


@plant("RealDiv", layer="weight_norm", line="self.v / length")
def weight_normalisation() -> dict[str, Any]:
    class WeightNorm(kl.Layer):
        def build(self, shape: Any) -> None:
            self.v = self.add_weight(shape=(4, 1), initializer="ones", name="v")

        def call(self, x: Any) -> Any:
            length = tf.stop_gradient(tf.norm(self.v * tf.reduce_max(x)))
            return x @ (self.v / length)

    model = keras.Sequential([keras.Input((4,)), WeightNorm(name="weight_norm")])
    model.compile("sgd", loss="mse")

    def all_zero(x: Any, y: Any) -> None:
        x[:] = 0.0

    return {"model": model, "batch": spoiled(all_zero)}


@plant("RealDiv", layer="spectral", line="self.u.assign(v / ")
def spectral_normalisation() -> dict[str, Any]:
    class Spectral(kl.Layer):
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(4, 4), initializer="identity", name="w")
            self.u = self.add_weight(shape=(4, 1), initializer="ones", trainable=False, name="u")

        def call(self, x: Any) -> Any:
            v = self.w @ self.u * tf.reduce_max(x)
            self.u.assign(v / tf.stop_gradient(tf.norm(v)))
            return x @ self.w

    model = keras.Sequential([keras.Input((4,)), Spectral(name="spectral"), kl.Dense(1)])
    model.compile("sgd", loss="mse")

    def all_zero(x: Any, y: Any) -> None:
        x[:] = 0.0

    return {"model": model, "batch": spoiled(all_zero)}


@plant(harmless=True)
def layer_normalisation_in_half_precision() -> dict[str, Any]:
    class HalfNorm(kl.Layer):
        def call(self, x: Any) -> Any:
            half = tf.cast(x, tf.float16)
            squares = tf.reduce_mean(tf.square(half), -1, keepdims=True)
            return tf.cast(half / tf.sqrt(squares), tf.float32)

    model = keras.Sequential([keras.Input((4,)), HalfNorm(name="norm"), kl.Dense(1)])
    model.compile("sgd", loss="mse")
    return {"model": model, "batch": spoiled(set_row(400.0))}


@plant("Exp", "Softmax", "Cast", line="tf.exp(half)", rows=(ROW,))
def softmax_in_half_precision() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        half = tf.cast(model(x), tf.float16)
        grown = tf.exp(half)
        share = grown / tf.reduce_sum(grown, axis=1, keepdims=True)
        return tf.reduce_mean(tf.cast(share, tf.float32) * x)

    return looped(dense(), loss, spoiled(set_row(20.0)))


@plant(
    "SqrtGrad", phase="backward", line="tf.sqrt(tf.reduce_sum(tf.square(slopes)", forward_op="Sqrt"
)
def wasserstein_penalty() -> dict[str, Any]:
    critic = keras.Sequential(
        [keras.Input((4,)), kl.Dense(4, "relu", name="one"), kl.Dense(1, name="two")],
        name="critic",
    )

    def loss(model: Any, x: Any, y: Any) -> Any:
        with tf.GradientTape() as inner:
            inner.watch(x)
            score = model(x)
        slopes = inner.gradient(score, x)
        norm = tf.sqrt(tf.reduce_sum(tf.square(slopes), axis=1))
        return tf.reduce_mean(score) + 10.0 * tf.reduce_mean(tf.square(norm - 1.0))

    critic.layers[0].kernel.assign(np.eye(4))
    return looped(critic, loss, spoiled(set_row(-1.0)))


@plant("Log", "Pow", "RealDiv", line="u_x / tf.sqrt(x[:, :1] - 1.0)", rows=None)
def physics_informed() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        with tf.GradientTape() as inner:
            inner.watch(x)
            u = model(x)
        u_x = inner.gradient(u, x)
        residual = u_x / tf.sqrt(x[:, :1] - 1.0)
        return tf.reduce_mean(tf.square(residual - u))

    def batch(step: int) -> Any:
        x, y = pair(step)
        x += 1.0
        if step == STEP:
            x[ROW, 0] = 1.0
        return x, y

    return looped(dense(), loss, batch)


@plant("MatMul", "Mul", "AddV2", layer="recurrent", named="turn = ")
def a_recurrence_that_explodes() -> dict[str, Any]:
    class Recurrent(kl.Layer):
        def build(self, shape: Any) -> None:
            self.w = self.add_weight(shape=(4, 4), initializer="identity", name="w")

        def call(self, x: Any) -> Any:
            state = x
            for turn in range(40):
                state = tf.matmul(state * (8.0 + 0.0 * turn), self.w)
            return tf.nn.tanh(state * 1e-36)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    layer, head = Recurrent(name="recurrent"), kl.Dense(1, name="head")
    optimizer = keras.optimizers.SGD(1e-6)

    @tf.function
    def step(data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(head(layer(data[0])) - data[1]))
        variables = [*layer.trainable_variables, *head.trainable_variables]
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    return {
        "step": step, "batch": spoiled(set_row(1e10)),
        "restore": {"layer": layer, "head": head, "optimizer": optimizer},
    }  # fmt: skip


@plant("RealDiv", line="(x - mean) / deviation  # alone")
def batch_of_one_row() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        mean = tf.reduce_mean(x, 0)
        deviation = tf.sqrt(tf.reduce_mean(tf.square(x - mean), 0))
        scaled = (x - mean) / deviation  # alone
        return tf.reduce_mean(model(scaled))

    def batch(step: int) -> Any:
        return pair(step, rows=1 if step == STEP else 6)

    return looped(dense(), loss, batch)


@plant("Acos", line="tf.acos(inner)", rows=(ROW,))
def angular_margin() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        inner = model(x) * 0.5
        angle = tf.acos(inner)
        return tf.reduce_mean(tf.cos(angle + 0.5))

    return looped(dense(), loss, spoiled(set_row(2.5)))


@plant("Xlogy", "Log", "Mul", "Xdivy", phase="loss", rows=None)
def divergence_of_distributions() -> dict[str, Any]:
    def divergence(y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_sum(y_true * tf.math.log(y_true / y_pred), axis=-1)

    model = dense(1, kernel_initializer="ones", use_bias=False)
    model.compile(keras.optimizers.SGD(1e-5), loss=divergence)

    def none(x: Any, y: Any) -> None:
        y[ROW] = 0.0

    return {"model": model, "batch": spoiled(none)}


@plant("RealDiv", line="tf.reduce_sum(kept, 1) / number", rows=(ROW,))
def mean_of_masked_words() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        there = tf.cast(x > 0.0, tf.float32)
        kept, number = model(x) * there, tf.reduce_sum(there, 1)
        pooled = tf.reduce_sum(kept, 1) / number
        return tf.reduce_mean(pooled * y[:, 0])

    return looped(dense(), loss, spoiled(set_row(0.0)))


@plant("Log", phase="forward", layer="*", line="tf.math.log(u)", step=STEP)
def gumbel_noise_of_zero() -> dict[str, Any]:
    def loss(model: Any, x: Any, y: Any) -> Any:
        u = x - 0.5
        noise = -tf.math.log(-tf.math.log(u))
        return tf.reduce_mean(tf.nn.softmax(model(x) + noise) * y)

    return looped(dense(), loss, spoiled(set_row(0.5)))


@plant("L2Loss", "Square", phase="optimizer", layer="*")
def clipping_by_the_global_norm() -> dict[str, Any]:
    model, optimizer = dense(), keras.optimizers.SGD(1e-3)

    @tf.function
    def step(data: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model(data[0]) * data[1])
        slopes, _ = tf.clip_by_global_norm(tape.gradient(loss, model.trainable_variables), 1.0)
        optimizer.apply(slopes, model.trainable_variables)
        return loss

    def huge(x: Any, y: Any) -> None:
        y[ROW] = 1e25

    return {
        "step": step, "batch": spoiled(huge),
        "restore": {"model": model, "optimizer": optimizer},
    }  # fmt: skip


@plant("ReadVariableOp", phase="state", layer="words")
def a_bad_row_of_a_frozen_table_that_is_first_looked_up_now() -> dict[str, Any]:
    """A table that was bad all along: the step that uses the row is not the one to blame."""
    table = np.random.default_rng(0).random((20, 4), np.float32)
    table[17] = np.nan
    words = kl.Embedding(
        20, 4, embeddings_initializer=keras.initializers.Constant(table), trainable=False,
        name="words",
    )  # fmt: skip
    model = keras.Sequential(
        [keras.Input((3,), dtype="int32"), words, kl.GlobalAveragePooling1D(), kl.Dense(1)],
        name="net",
    )

    def batch(step: int) -> Any:
        ids = np.random.default_rng(step).integers(0, 16, (6, 3)).astype(np.int32)
        if step == STEP:
            ids[ROW, 1] = 17
        return ids, np.ones((6, 1), np.float32)

    def loss_of(model: Any, ids: Any, y: Any) -> Any:
        return tf.reduce_mean(tf.square(model(ids) - y))

    return looped(model, loss_of, batch)


@plant(phase="input", rows=(ROW,))
def a_missing_value_where_others_are_usual_and_cleaned() -> dict[str, Any]:
    """Column 0 is NaN in every batch and cleaned; a NaN in column 2 is not."""

    def batch(step: int) -> Any:
        x, y = pair(step)
        x[:, 0] = np.nan
        if step == STEP:
            x[ROW, 2] = np.nan
        return x, y

    def loss_of(model: Any, x: Any, y: Any) -> Any:
        first = tf.where(tf.math.is_nan(x[:, :1]), 0.0, x[:, :1])
        return tf.reduce_mean(tf.square(model(tf.concat([first, x[:, 1:]], axis=1)) - y))

    return looped(dense(1), loss_of, batch)


@plant("ReadVariableOp", phase="state", layer="out", step=0)
def a_bad_kernel_beside_a_mask_that_is_infinite_on_purpose() -> dict[str, Any]:
    """The first step of a start that was bad: the mask is in the state too, and harmless."""
    mask = tf.Variable([[0.0, -np.inf]], trainable=False, name="mask")
    model = dense(2)
    kernel = model.layers[-1].kernel
    kernel.assign(tf.where(tf.ones_like(kernel) > 0, np.float32(np.nan), 0.0))

    def loss_of(model: Any, x: Any, y: Any) -> Any:
        return tf.reduce_mean(tf.nn.softmax(model(x) + mask)[:, :1] * y)

    case = looped(model, loss_of, pair)
    case["restore"]["mask"] = mask
    return case
