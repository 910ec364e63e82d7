"""Raw variables and custom loops, each with one planted defect at step 2."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import tensorflow as tf

from tests.replay.planted import STEP, plant

ROW = 3


def table(step: int, rows: int = 6, columns: int = 4) -> Any:
    return np.random.default_rng(step).random((rows, columns)).astype(np.float32) + 0.5


def table_with(value: float, row: int = ROW) -> Any:
    def batch(step: int) -> Any:
        x = table(step)
        if step == STEP:
            x[row] = value
        return x

    return batch


def stepped(loss_of: Any, weight: Any, batch: Any, function: bool = True) -> dict[str, Any]:
    """Build a plain gradient step on one variable."""

    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(x)
        weight.assign_sub(1e-3 * tape.gradient(loss, weight))
        return loss

    return {
        "step": tf.function(step) if function else step,
        "batch": batch,
        "restore": {"weight": weight},
    }


@plant("Log", line="tf.math.log(x)  # 1", rows=(ROW,))
def forward_log() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        y = tf.math.log(x)  # 1
        return -tf.reduce_mean(weight * y)

    return stepped(loss, weight, table_with(0.0))


@plant("Square", line="tf.square(x * weight)  # 2", rows=(ROW,))
def overflow_at_square() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        energy = tf.square(x * weight)  # 2
        return tf.reduce_mean(energy)

    return stepped(loss, weight, table_with(1e25))


@plant("Cast", line="tf.cast(x * weight, tf.float16)", rows=(ROW,))
def overflow_at_a_cast() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        half = tf.cast(x * weight, tf.float16)
        return tf.cast(tf.reduce_mean(half), tf.float32)

    return stepped(loss, weight, table_with(1e6))


@plant("Log", line="tf.math.log(left)", others=("RealDiv",), rows=(ROW,))
def two_origins() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def batch(step: int) -> Any:
        x = table(step)
        if step == STEP:
            x[ROW, 0] = 0.0
            x[4, 1] = 0.0
        return x

    def loss(x: Any) -> Any:
        left, right = x[:, 0], x[:, 1]
        one = tf.math.log(left)
        two = 1.0 / right
        return tf.reduce_mean(weight[0] * one + weight[1] * two)

    return stepped(loss, weight, batch)


@plant("Log", line="tf.math.log(total)", named="iteration 4")
def while_loop() -> dict[str, Any]:
    weight = tf.Variable(1.0, name="weight")

    def batch(step: int) -> Any:
        return np.full((6,), 4.0 if step == STEP else 20.0, np.float32)

    def loss(x: Any) -> Any:
        def body(i: Any, total: Any, out: Any) -> Any:
            logged = tf.math.log(total)
            return i + 1, total - 1.0, out + logged

        _, _, out = tf.while_loop(
            lambda i, *_: i < 6, body, (tf.constant(0), weight * x[0], tf.constant(0.0))
        )
        return out

    return stepped(loss, weight, batch)


@plant("Log", line="tf.math.log(total)  # for", named="i = 4")
def autograph_for() -> dict[str, Any]:
    weight = tf.Variable(1.0, name="weight")

    def batch(step: int) -> Any:
        return np.full((6,), 4.0 if step == STEP else 20.0, np.float32)

    def loss(x: Any) -> Any:
        total, out = weight * x[0], tf.constant(0.0)
        for i in tf.range(6):
            logged = tf.math.log(total)  # for
            if i > 0:
                out += logged
            total -= 1.0
        return out

    return stepped(loss, weight, batch)


@plant("Rsqrt", line="tf.math.rsqrt(total)  # while", named="count = 5")
def autograph_while() -> dict[str, Any]:
    weight = tf.Variable(1.0, name="weight")

    def batch(step: int) -> Any:
        return np.full((6,), 4.0 if step == STEP else 20.0, np.float32)

    def loss(x: Any) -> Any:
        total, out, count = weight * x[0], tf.constant(0.0), tf.constant(0)
        while count < 6:
            out += tf.math.rsqrt(total)  # while
            total -= 1.0
            count += 1
        return out

    return stepped(loss, weight, batch)


@plant("RealDiv", line="x / spread  # cond", rows=(ROW,))
def conditional() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        spread = tf.math.reduce_std(x, axis=1, keepdims=True)

        def scaled() -> Any:
            return x / spread  # cond

        y = tf.cond(tf.reduce_sum(x) > 0.0, scaled, lambda: x)
        return tf.reduce_mean(weight * y)

    def batch(step: int) -> Any:
        x = table(step)
        if step == STEP:
            x[ROW] = 0.0
        return x

    return stepped(loss, weight, batch)


@plant("Log", line="tf.math.log(x - state)", named="iteration 3")
def scanned() -> dict[str, Any]:
    weight = tf.Variable(1.0, name="weight")

    def batch(step: int) -> Any:
        x = np.linspace(8, 14, 7).astype(np.float32)
        if step == STEP:
            x[3] = 0.0
        return x

    def loss(x: Any) -> Any:
        def one(state: Any, x: Any) -> Any:
            y = tf.math.log(x - state)
            return y * 0.1

        return tf.reduce_sum(tf.scan(one, x * weight, initializer=tf.constant(0.0)))

    return stepped(loss, weight, batch)


@plant("Log", line="tf.math.log(row)  # map", named=f"iteration {ROW}")
def mapped() -> dict[str, Any]:
    weight = tf.Variable(1.0, name="weight")

    def loss(x: Any) -> Any:
        def one(row: Any) -> Any:
            logged = tf.math.log(row)  # map
            return tf.reduce_sum(logged)

        return tf.reduce_mean(tf.map_fn(one, weight * x))

    return stepped(loss, weight, table_with(0.0))


@plant("Log", line="tf.math.log(row)  # vectorized", named=f"iteration {ROW}")
def vectorized() -> dict[str, Any]:
    weight = tf.Variable(1.0, name="weight")

    def loss(x: Any) -> Any:
        def one(row: Any) -> Any:
            logged = tf.math.log(row)  # vectorized
            return tf.reduce_sum(logged)

        return tf.reduce_mean(tf.vectorized_map(one, weight * x))

    return stepped(loss, weight, table_with(0.0))


@plant(
    "SqrtGrad",
    phase="backward",
    line="tf.sqrt(row)  # jacobian",
    forward_op="Sqrt",
)
def jacobian() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    @tf.function
    def step(x: Any) -> Any:
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                row = tf.reduce_mean(x, axis=0) * weight
                y = tf.sqrt(row)  # jacobian
            slopes = inner.jacobian(y, weight)
            loss = tf.reduce_sum(y) + tf.reduce_sum(slopes)
        weight.assign_sub(1e-3 * outer.gradient(loss, weight))
        return loss

    def batch(step: int) -> Any:
        x = table(step)
        if step == STEP:
            x[:, 1] = 0.0
        return x

    return {"step": step, "batch": batch, "restore": {"weight": weight}}


@plant("PyFunc", "EagerPyFunc", line="tf.numpy_function(outside", rows=(ROW,))
def numpy_function() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def outside(x: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.log(x)

    def loss(x: Any) -> Any:
        y = tf.numpy_function(outside, [x], tf.float32)
        y.set_shape((6, 4))
        return tf.reduce_mean(weight * y)

    return stepped(loss, weight, table_with(0.0))


@plant("Log", line="tf.math.log(x)  # python", rows=(ROW,))
def py_function() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def outside(x: Any) -> Any:
        return tf.math.log(x)  # python

    def loss(x: Any) -> Any:
        y = tf.py_function(outside, [x * weight], tf.float32)
        return tf.reduce_mean(y)

    return stepped(loss, weight, table_with(0.0))


@plant("Log", line="tf.math.log(x)  # again", rows=(ROW,), layer=None)
def recomputed() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    @tf.recompute_grad
    def block(x: Any) -> Any:
        return tf.math.log(x)  # again

    def loss(x: Any) -> Any:
        return tf.reduce_mean(block(weight * x))

    return stepped(loss, weight, table_with(0.0))


@plant("Max", line="tf.reduce_max(chosen)")
def maximum_of_nothing() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        chosen = tf.boolean_mask(x, x > 0.1)
        largest = tf.reduce_max(chosen)
        return tf.reduce_mean(weight * x) + largest

    def batch(step: int) -> Any:
        return table(step) if step != STEP else np.zeros((6, 4), np.float32)

    return stepped(loss, weight, batch)


@plant("Log", line="tf.math.log(z)  # complex")
def complex_numbers() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        z = tf.complex(x * weight, tf.zeros_like(x))
        y = tf.math.log(z)  # complex
        return tf.reduce_mean(tf.math.real(y))

    return stepped(loss, weight, table_with(0.0))


@plant("RealDiv", line="x / count")
def a_nan_cast_to_an_integer() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        count = tf.reduce_sum(x)
        share = x / count
        place = tf.cast(tf.reduce_max(share * 3.0), tf.int32)
        return tf.reduce_mean(weight * x) * tf.cast(place, tf.float32) ** 5

    def batch(step: int) -> Any:
        return table(step) if step != STEP else np.zeros((6, 4), np.float32)

    return stepped(loss, weight, batch)


@plant("Reciprocal", "Mul", phase="backward", line="tf.math.log(x)  # masked", forward_op="Log")
def masked_branch() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        x = x * weight
        y = tf.math.log(x)  # masked
        safe = tf.where(x > 0.0, y, 0.0)
        return tf.reduce_mean(safe)

    return stepped(loss, weight, table_with(0.0))


@plant(harmless=True)
def dead_code() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        tf.math.log(x)  # nobody reads it
        y = tf.where(x > 0.0, tf.math.log(x), 0.0)
        return tf.reduce_mean(weight * (x + y))

    return stepped(loss, weight, table_with(0.0))


@plant(
    "LogGrad",
    "Reciprocal",
    "RealDiv",
    "Mul",
    phase="backward",
    line="return upstream / x  # inside",
)
def custom_gradient() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    @tf.custom_gradient
    def custom(x: Any) -> Any:
        def grad(upstream: Any) -> Any:
            return upstream / x  # inside

        return tf.math.log(x + 1e-6), grad

    def loss(x: Any) -> Any:
        y = custom(x * weight)
        return tf.reduce_mean(y)

    return stepped(loss, weight, table_with(0.0))


@plant(
    "SqrtGrad", phase="backward", line="tf.sqrt(tf.reduce_sum(slope", forward_op="Sqrt", rows=(ROW,)
)
def gradient_penalty() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4, 1)), name="weight")

    @tf.function
    def step(x: Any) -> Any:
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(x)
                score = tf.square(x) @ weight
            slope = inner.gradient(score, x)
            norm = tf.sqrt(tf.reduce_sum(slope**2, axis=1))
            loss = tf.reduce_mean(score) + tf.reduce_mean((norm - 1.0) ** 2)
        weight.assign_sub(1e-3 * outer.gradient(loss, weight))
        return loss

    return {"step": step, "batch": table_with(0.0), "restore": {"weight": weight}}


@plant("SqrtGrad", "Mul", "RealDiv", "Pow", phase="backward", line="tf.sqrt(tf.abs(x) * weight)")
def persistent_tape() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    @tf.function
    def step(x: Any) -> Any:
        with tf.GradientTape(persistent=True) as tape:
            y = tf.sqrt(tf.abs(x) * weight)
            one, two = tf.reduce_mean(y), tf.reduce_mean(y * y)
        weight.assign_sub(1e-3 * tape.gradient(two, weight))
        weight.assign_sub(1e-3 * tape.gradient(one, weight))
        return one + two

    return {"step": step, "batch": table_with(0.0), "restore": {"weight": weight}}


@plant("Log", line="tf.math.log(x * weight)  # forward mode", rows=(ROW,))
def forward_mode() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    @tf.function
    def step(x: Any) -> Any:
        with tf.autodiff.ForwardAccumulator(weight, tf.ones_like(weight)) as forward:
            y = tf.math.log(x * weight)  # forward mode
            loss = tf.reduce_mean(y)
        weight.assign_sub(1e-3 * forward.jvp(loss) * tf.ones((4,)))
        return loss

    return {"step": step, "batch": table_with(0.0), "restore": {"weight": weight}}


@plant("Log", line="tf.math.log(share)", rows=(ROW,))
def nested_functions() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    @tf.function
    def inner(share: Any) -> Any:
        return tf.math.log(share)

    @tf.function
    def middle(x: Any) -> Any:
        return inner(x * weight) + 1.0

    def loss(x: Any) -> Any:
        return tf.reduce_mean(middle(x))

    return stepped(loss, weight, table_with(0.0))


@plant("Log", line="tf.math.log(rows)  # embedded", rows=(ROW,))
def embedding() -> dict[str, Any]:
    weight = tf.Variable(np.vstack([np.ones((9, 4)), np.zeros((1, 4))]).astype("f"), name="weight")

    def batch(step: int) -> Any:
        ids = np.arange(6)
        if step == STEP:
            ids[ROW] = 9
        return ids

    def marked(ids: Any) -> Any:
        with tf.GradientTape() as tape:
            rows = tf.nn.embedding_lookup(weight, ids)
            y = tf.math.log(rows)  # embedded
            loss = tf.reduce_mean(y)
        weight.assign_sub(1e-3 * tf.convert_to_tensor(tape.gradient(loss, weight)))
        return loss

    return {"step": tf.function(marked), "batch": batch, "restore": {"weight": weight}}


@plant("CheckNumerics", "Log", line="tf.math.log(x * weight)  # guarded", rows=(ROW,))
def guarded_by_check_numerics() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        y = tf.math.log(x * weight)  # guarded
        y = tf.debugging.check_numerics(y, "my check")
        return tf.reduce_mean(y)

    return stepped(loss, weight, table_with(0.0))


@plant("Assert", line="tf.debugging.assert_positive(x)")
def assertion() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        tf.debugging.assert_positive(x)
        return tf.reduce_mean(x * weight)

    return stepped(loss, weight, table_with(-1.0))


@plant("Cholesky", line="tf.linalg.cholesky(covariance)")
def cholesky() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        covariance = tf.matmul(x * weight, x, transpose_a=True) / 6.0
        factor = tf.linalg.cholesky(covariance)
        return tf.reduce_sum(tf.math.log(tf.linalg.diag_part(factor)))

    def batch(step: int) -> Any:
        x = table(step)
        if step == STEP:
            x[:, 1] = 0.0
        return x

    return stepped(loss, weight, batch)


@plant("Const", line="loss = tf.reduce_mean(x * weight * gain)", rows=())
def a_bad_constant() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")
    scale = {"value": 1.0}

    def step(x: Any) -> Any:
        scale["value"] = -1.0 if float(x[0, 0]) < 0 else 1.0
        with np.errstate(all="ignore"):
            gain = tf.constant(np.log(scale["value"]), tf.float32)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(x * weight * gain)
        weight.assign_sub(1e-3 * tape.gradient(loss, weight))
        return loss

    return {"step": step, "batch": table_with(-1.0, 0), "restore": {"weight": weight}}


@plant("Softmax", line="tf.nn.softmax(scores)", rows=(ROW,))
def a_row_that_is_masked_wholly() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        scores = tf.where(x > 0.0, x * weight, float("-inf"))
        share = tf.nn.softmax(scores)
        return tf.reduce_mean(share * x)

    def batch(step: int) -> Any:
        x = table(step)
        x[0, 1] = 0.0
        if step == STEP:
            x[ROW] = 0.0
        return x

    return stepped(loss, weight, batch)


@plant("Softmax", line="tf.nn.softmax(scores)  # first", rows=(ROW,), step=0)
def a_row_that_is_masked_wholly_at_the_first_step() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        scores = tf.where(x > 0.0, x * weight, float("-inf"))
        share = tf.nn.softmax(scores)  # first
        return tf.reduce_mean(share * x)

    def batch(step: int) -> Any:
        x = table(step)
        x[0, 1] = 0.0
        x[ROW] = 0.0
        return x

    return stepped(loss, weight, batch)


@plant("Log", line="tf.math.log(share + 0.0)")
def a_logarithm_that_is_mostly_masked() -> dict[str, Any]:
    """At every step some logarithm is -inf and masked; at one step the mask is wrong."""
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        share = x * weight
        surprise = tf.math.log(share + 0.0)
        return tf.reduce_mean(tf.where(tf.reduce_sum(x, 1)[:, None] > 0.0, surprise, 0.0))

    def batch(step: int) -> Any:
        x = table(step)
        x[0] = 0.0
        if step == STEP:
            x[ROW, 1] = 0.0
        return x

    def only_forward(x: Any) -> Any:
        value = loss(x)
        weight.assign_add(0.0 * tf.ones((4,)))
        return value

    return {"step": tf.function(only_forward), "batch": batch, "restore": {"weight": weight}}


@plant(
    "ReadVariableOp",
    phase="state",
    layer="weight",
    named="weight",
    line="tf.reduce_mean(x * weight)  # bad",
)
def bad_weight() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def batch(step: int) -> Any:
        if step == STEP:
            weight.assign([1.0, np.nan, 1.0, 1.0])
        return table(step)

    def loss(x: Any) -> Any:
        return tf.reduce_mean(x * weight)  # bad

    return stepped(loss, weight, batch)


@plant(phase="input", rows=(ROW,))
def bad_input() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")
    return stepped(lambda x: tf.reduce_mean(x * weight), weight, table_with(np.nan))


@plant("AssignAddVariableOp", "AssignSubVariableOp", phase="state", layer="*")
def overflow_in_an_assignment() -> dict[str, Any]:
    weight = tf.Variable(tf.fill((4,), 1.0), name="weight")

    def step(x: Any) -> Any:
        weight.assign_add(tf.reduce_max(x) * tf.ones((4,)))
        return tf.reduce_max(x)

    def batch(step: int) -> Any:
        return np.full((6, 4), 2.5e38 if step >= 1 else 1.0, np.float32)

    return {"step": tf.function(step), "batch": batch, "restore": {"weight": weight}}


@plant("Log", line="tf.math.log(x))  # in a thread", rows=(ROW,))
def in_another_thread() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def step(x: Any) -> Any:
        out = []

        def work() -> None:
            out.append(tf.math.log(x))  # in a thread

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        loss = tf.reduce_mean(out[0] * weight)
        weight.assign_sub(loss * 1e-3 * tf.ones((4,)))
        return loss

    return {"step": step, "batch": table_with(0.0), "restore": {"weight": weight}}


@plant("Log", line="tf.math.log(x * weight)  # compiled", rows=(ROW,))
def compiled_just_in_time() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    @tf.function(jit_compile=True)
    def loss(x: Any) -> Any:
        y = tf.math.log(x * weight)  # compiled
        return tf.reduce_mean(y)

    return stepped(loss, weight, table_with(0.0), function=False)


@plant(harmless=True)
def a_recomputation_that_is_masked() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    @tf.recompute_grad
    def block(x: Any) -> Any:
        safe = tf.where(x > 0.0, x, 1.0)
        return tf.where(x > 0.0, tf.math.log(safe), 0.0) + tf.reduce_max(x[:0])

    def loss(x: Any) -> Any:
        y = block(weight * x)
        return tf.reduce_mean(tf.where(tf.math.is_finite(y), y, 0.0))

    return stepped(loss, weight, table_with(0.0))


@plant("Log", line="tf.math.log(x)  # rewritten", rows=(ROW,))
def explicitly_rewritten() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def surprise(x: Any) -> Any:
        y = x
        if tf.reduce_sum(x) > 0.0:
            y = tf.math.log(x)  # rewritten
        return y

    rewritten = tf.autograph.to_graph(surprise)

    def loss(x: Any) -> Any:
        return tf.reduce_mean(rewritten(x * weight))

    return stepped(loss, weight, table_with(0.0))


@plant("RealDiv", line="x / tf.reduce_sum(x, 1, keepdims=True)  # double", rows=(ROW,))
def double_precision() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,), tf.float64), name="weight")

    def loss(x: Any) -> Any:
        share = x / tf.reduce_sum(x, 1, keepdims=True)  # double
        return tf.reduce_mean(share * weight)

    def batch(step: int) -> Any:
        return table_with(0.0)(step).astype(np.float64)

    return stepped(loss, weight, batch)


@plant("Square", line="tf.square(half)  # brain float", rows=(ROW,), others=("Mul",))
def brain_float() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        half = tf.cast(x * weight, tf.bfloat16)
        energy = tf.square(half)  # brain float
        return tf.cast(tf.reduce_mean(energy), tf.float32)

    return stepped(loss, weight, table_with(1e25))


@plant("Log", line="tf.math.log(left + 1e-9)", others=("RealDiv", "Rsqrt"))
def three_origins() -> dict[str, Any]:
    weight = tf.Variable(tf.ones((4,)), name="weight")

    def loss(x: Any) -> Any:
        left, middle, right = x[:, 0], x[:, 1], x[:, 2]
        one = tf.math.log(left + 1e-9)
        two = 1.0 / middle
        three = tf.math.rsqrt(right)
        return tf.reduce_mean(weight[0] * one + weight[1] * two + weight[2] * three)

    def batch(step: int) -> Any:
        x = table(step)
        if step == STEP:
            x[0, 0], x[1, 1], x[2, 2] = -1.0, 0.0, 0.0
        return x

    return stepped(loss, weight, batch)
