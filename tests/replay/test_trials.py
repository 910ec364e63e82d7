"""Remedies one by one, in the process of the tests: what they change, and what is judged."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from forensics.replay.worker import arrays
from forensics.replay.worker.case import entry, restore
from forensics.replay.worker.stepping import state, stepper
from forensics.replay.worker.trials import data, network, optimizer, precision, rows, step_size
from forensics.replay.worker.trials.change import Change, Unfit
from forensics.replay.worker.trials.course import Runner, Tried
from forensics.replay.worker.trials.judge import Judge
from forensics.replay.worker.trials.logits import FromLogits
from forensics.replay.worker.trials.operations import SafeForm
from forensics.replay.worker.trials.rewriting import Place, Rewriting
from forensics.replay.worker.trials.sick import falls
from forensics.replay.worker.trials.trials import Trials

pytestmark = pytest.mark.tf
tf: Any = pytest.importorskip("tensorflow")
keras: Any = pytest.importorskip("keras")


@pytest.fixture
def fresh() -> Iterator[None]:
    """Leave no variable of another test to be found by the garbage collector."""
    keras.backend.clear_session()
    gc.collect()
    keras.utils.set_random_seed(1)
    yield
    keras.backend.clear_session()
    gc.collect()


def prepared(case: entry.Case) -> stepper.Stepper:
    everything = state.State(case.restore)
    steps = stepper.Stepper(case, everything)
    restore.build(case, everything, steps, steps.batch(0))
    return steps


def compiled() -> Any:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="d")], name="net")
    model.compile(keras.optimizers.Adam(0.1), loss="mse", metrics=["mae"])
    return model


def batch(step: int) -> Any:
    rng = np.random.default_rng(step)
    return rng.random((4, 3), np.float32), rng.random((4, 2), np.float32)


# -- the update
@pytest.mark.usefixtures("fresh")
def test_the_controls_change_the_update_and_leave_no_trace() -> None:
    model = compiled()
    steps = prepared(entry.Case({"model": model, "batch": batch}))
    kernel = next(v.key for v in steps.state.variables if v.name == "net/d/kernel")
    before = steps.state.snapshot()

    def moved(change: Change | None = None) -> float:
        steps.state.load(before)
        if change is None:
            steps.own(steps.batch(0))
        else:
            change.begin(0)
            with change.active() as used:
                change.begin(0)
                steps.own(steps.batch(0))
            assert used
        return float(np.abs(steps.state.snapshot().values[kernel] - before.values[kernel]).max())

    own = moved()
    controls = step_size.Controls(steps.state.optimizers)
    with controls.installed():
        steps.retrace()
        assert moved() == own
        assert moved(step_size.LowerRate(controls, 10)) == pytest.approx(own / 10, rel=1e-3)
        assert moved(step_size.HigherRate(controls)) == pytest.approx(own * 10, rel=1e-3)
        first = 1.0 / step_size.WARM_UP_STEPS
        assert moved(step_size.WarmUp(controls)) == pytest.approx(own * first, rel=1e-3)
        assert moved(step_size.ClipNorm(controls)) == pytest.approx(own, rel=1e-2)
        assert moved() == own
    steps.retrace()
    assert moved() == own
    assert model.optimizer.global_clipnorm is None


@pytest.mark.parametrize(
    ("grads", "norm", "value", "expected"),
    [
        ([[3.0], [4.0]], 1.0, math.inf, [[0.6], [0.8]]),
        ([[3.0], [4.0]], math.inf, 0.5, [[0.5], [0.5]]),
        ([[0.3], [-0.4]], 1.0, 0.5, [[0.3], [-0.4]]),
        # the norm is a sum of squares: it overflows, and then clipping by it helps no one
        ([[1e25], [1.0]], 1.0, math.inf, [[math.nan], [math.nan]]),
        ([[1e25], [1.0]], math.inf, 0.5, [[0.5], [0.5]]),
        ([[1e25], [1.0]], math.inf, math.inf, [[1e25], [1.0]]),
    ],
)
def test_gradients_are_clipped_as_keras_does(
    grads: Any, norm: float, value: float, expected: Any
) -> None:
    controls = step_size.Controls([])
    controls.norm_limit.assign(norm)
    controls.value_limit.assign(value)
    given = [tf.constant(g) for g in grads]
    np.testing.assert_allclose([g.numpy() for g in controls.clipped(given)], expected, rtol=1e-5)
    sparse = tf.IndexedSlices(given[0], tf.constant([2]), tf.constant([4]))
    clipped, nothing, _ = controls.clipped([sparse, None, given[1]])
    assert nothing is None and clipped.indices.numpy().tolist() == [2]
    np.testing.assert_allclose(clipped.values.numpy(), expected[0], rtol=1e-5)


def test_a_hand_written_update_is_scaled_through_the_tape() -> None:
    controls = step_size.Controls([])
    weight = tf.Variable(3.0)
    with controls.installed():
        controls.factor.assign(0.1)
        with tf.GradientTape() as tape:
            loss = weight * weight
        assert float(tape.gradient(loss, weight)) == pytest.approx(0.6)
    with tf.GradientTape() as tape:
        loss = weight * weight
    assert float(tape.gradient(loss, weight)) == pytest.approx(6.0)


# -- ops
BAD = {
    "Log": (tf.math.log, [0.0, 2.0]),
    "Log1p": (tf.math.log1p, [-1.0, 2.0]),
    "Sqrt": (tf.sqrt, [0.0, 2.0]),
    "Rsqrt": (tf.math.rsqrt, [0.0, 2.0]),
    "Reciprocal": (tf.math.reciprocal, [0.0, 2.0]),
    "RealDiv": (lambda x: x / x, [0.0, 2.0]),
    "Pow": (lambda x: tf.pow(x, -0.5), [0.0, 2.0]),
    "Exp": (tf.exp, [100.0, 2.0]),
    "Expm1": (tf.math.expm1, [100.0, 2.0]),
    "Sinh": (tf.sinh, [-100.0, 2.0]),
    "Cosh": (tf.cosh, [-100.0, 2.0]),
    "Acos": (tf.acos, [1.0, 0.5]),
    "Asin": (tf.asin, [-1.0, 0.5]),
    "Atanh": (tf.atanh, [1.0, 0.5]),
    "Erfinv": (tf.math.erfinv, [1.0, 0.5]),
    "Ndtri": (tf.math.ndtri, [0.0, 0.5]),
    "Acosh": (tf.acosh, [1.0, 2.0]),
    "Lgamma": (tf.math.lgamma, [0.0, 2.0]),
    "Digamma": (tf.math.digamma, [0.0, 2.0]),
    "Xlogy": (lambda x: tf.math.xlogy(tf.ones_like(x), x), [0.0, 2.0]),
    "Softmax": (lambda x: tf.nn.softmax(x + tf.constant([-math.inf, -math.inf])), [1.0, 1.0]),
}


def origin_of(op: str, **fields: Any) -> dict[str, Any]:
    return {
        "op_type": op,
        "source": None,
        "layer": None,
        "phase": "forward",
        "inputs": [],
        **fields,
    }


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("op", sorted(BAD))
def test_a_safe_form_is_finite_with_its_gradient_and_changes_nothing_elsewhere(
    op: str, graph: bool
) -> None:
    function, (bad, good) = BAD[op]

    def slope(x: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return y, tape.gradient(y, x)

    def answer(change: SafeForm | None, x: Any) -> tuple[Any, Any]:
        run = tf.function(slope) if graph else slope
        if change is None:
            return run(x)
        with change.active() as used:
            y, dy = run(x)
        assert used
        return y, dy

    x = tf.constant([bad, good])
    plain = answer(None, x)
    assert not np.isfinite(plain[0]).all() or not np.isfinite(plain[1]).all()
    y, dy = answer(SafeForm(origin_of(op)), x)
    assert np.isfinite(y).all() and np.isfinite(dy).all()
    if op != "Softmax":
        np.testing.assert_allclose(y[1], plain[0][1], rtol=1e-5)
        np.testing.assert_allclose(dy[1], plain[1][1], rtol=1e-5)


def test_the_forms_of_other_ops() -> None:
    nothing = tf.zeros((0, 3))
    with SafeForm(origin_of("Mean", inputs=[{"count": 0}])).active():
        assert float(tf.reduce_mean(nothing)) == 0.0
        assert tf.reduce_mean(nothing, axis=0).numpy().tolist() == [0.0, 0.0, 0.0]
    singular = tf.ones((2, 2))
    with SafeForm(origin_of("Cholesky")).active():
        assert np.isfinite(tf.linalg.cholesky(singular)).all()
    labels, logits = tf.constant([1, 7]), tf.constant([[1.0, 2.0], [3.0, 1.0]])
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits
    with SafeForm(origin_of("SparseSoftmaxCrossEntropyWithLogits")).active():
        found = loss(labels=labels, logits=logits).numpy()
    assert found[0] == pytest.approx(0.3133, abs=1e-3) and found[1] == 0.0
    with SafeForm(origin_of("GatherV2")).active():
        assert tf.gather(tf.constant([1.0, 2.0]), [0, 5]).numpy().tolist() == [1.0, 2.0]
    infinite = origin_of("Sub", inputs=[{"neg_inf": 3}])
    with SafeForm(infinite).active():
        masked = tf.constant([-math.inf, -math.inf])
        assert np.isfinite(masked - tf.reduce_max(masked)).all()
    for op in ("Mean", "MatMul", "Sub"):
        with pytest.raises(Unfit):
            SafeForm(origin_of(op, inputs=[{"count": 4}]))


def test_only_the_op_at_its_line_is_changed_and_nothing_stays_changed() -> None:
    here = lambda x: tf.math.log(x)  # noqa: E731
    there = lambda x: tf.math.log(x)  # noqa: E731
    line = here.__code__.co_firstlineno
    source = {"file": "test_trials.py", "line": line, "function": "f", "code": ""}
    for wrap in (lambda f: f, tf.function):
        with SafeForm(origin_of("Log", source=source)).active() as used:
            assert np.isfinite(wrap(here)(tf.constant(0.0)))
            assert np.isneginf(wrap(there)(tf.constant(0.0)))
        assert used == [True]
        assert np.isneginf(wrap(here)(tf.constant(0.0)))


def test_a_place_that_is_not_found_is_looked_for_in_the_whole_forward_pass() -> None:
    change = SafeForm(origin_of("Log", source={"file": "other.py", "line": 1}))
    with change.active() as used:
        tf.math.log(0.0)
    assert not used and change.widen() and not change.widen()
    with change.active() as used:
        assert np.isfinite(tf.math.log(0.0))
    assert used


def test_the_place_of_a_gradient_is_not_touched() -> None:
    rewriting, seen = Rewriting(), []
    rewriting.add(Place(("Mul",), None, None, None), lambda op, given: seen.append(op) or None)  # type: ignore[func-returns-value]
    x = tf.constant(2.0)
    with rewriting.active(), tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.multiply(x, x)
        seen.clear()
        tape.gradient(y, x)
    assert not seen


@pytest.mark.parametrize("graph", [False, True], ids=["eager", "graph"])
def test_a_logarithm_of_probabilities_is_computed_from_the_logits(graph: bool) -> None:
    def losses(z: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(z)
            one = -tf.math.log(tf.nn.softmax(z))[0, 1]
            two = -tf.math.log(1.0 - tf.sigmoid(z))[0, 0] - tf.math.log(tf.sigmoid(z))[0, 1]
            chosen = tf.gather(tf.nn.softmax(z), [1], batch_dims=1)
            loss = one + two - (tf.reduce_sum(tf.math.log(chosen)) if graph else 0.0)
        return loss, tape.gradient(loss, z)

    z = tf.constant([[200.0, -200.0]])
    with FromLogits(origin_of("Log")).active() as used:
        loss, slope = (tf.function(losses) if graph else losses)(z)
    assert len(used) == (4 if graph else 3)
    assert float(loss) == pytest.approx(1200.0 if graph else 800.0)
    np.testing.assert_allclose(slope, [[3.0, -3.0]] if graph else [[2.0, -2.0]], rtol=1e-5)
    assert not np.isfinite(losses(z)[0])


# -- precision
@pytest.mark.usefixtures("fresh")
def test_float32_stands_in_for_half_precision_and_goes_again() -> None:
    layer = keras.layers.Dense(1, kernel_initializer="ones", dtype="mixed_float16")
    model = keras.Sequential([keras.Input((4,)), layer])
    optimizer = keras.optimizers.SGD(0.0)

    def step(x: Any) -> Any:
        with tf.GradientTape() as tape:
            half = tf.cast(tf.reduce_sum(model(x)), tf.float16)
            loss = tf.square(half)
        slopes = tape.gradient(loss, model.trainable_variables)
        gradients = [tf.math.multiply_no_nan(tf.cast(g, tf.float32), 0.0) for g in slopes]
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    x = tf.fill((2, 4), 1000.0)
    case = entry.Case({"step": step, "model": model, "batch": lambda i: x})
    for run in (step, tf.function(step)):
        assert np.isinf(run(x))
        change = precision.Float32(case, state.State(case.restore), "float16", x)
        with change.active() as used:
            fresh_run = run if run is step else tf.function(step)
            loss = fresh_run(x)
        assert used and loss.dtype == tf.float32
        assert float(loss) == pytest.approx(8000.0**2, rel=1e-2)
        assert layer.compute_dtype == "float16"
    full = entry.Case({"step": step, "batch": lambda i: x})
    with pytest.raises(Unfit):
        precision.Float32(full, state.State({}), "float32", x)


# -- the compiler
@pytest.mark.usefixtures("fresh")
def test_a_compiled_step_of_its_own_is_run_without_xla() -> None:
    seen = []

    @tf.function(jit_compile=True)
    def step(data: Any) -> Any:
        seen.append("traced")
        return tf.reduce_sum(data)

    steps = prepared(entry.Case({"step": step, "batch": lambda i: np.ones(3, np.float32)}))
    change = optimizer.JitOff(steps)
    count = len(seen)
    with change.active() as used:
        assert used and step._jit_compile is False
        step(np.ones(3, np.float32))
        assert len(seen) == count + 1, "traced anew"
    assert step._jit_compile is True


@pytest.mark.usefixtures("fresh")
def test_a_step_without_xla_needs_no_other_compiler() -> None:
    steps = prepared(entry.Case({"model": compiled(), "batch": batch}))
    steps.case.model.jit_compile = False
    with pytest.raises(Unfit, match="nothing is compiled by XLA"):
        optimizer.JitOff(steps)


# -- rows and data
def test_rows_are_left_out_without_a_change_of_shape() -> None:
    x, y = np.arange(8.0).reshape(4, 2), np.arange(4)
    left = rows.leave_out((x, y, 0.5), [1])
    assert left[0].shape == (4, 2) and left[1].tolist() == [0, 0, 2, 3] and left[2] == 0.5
    donated = rows.leave_out((x, y), [1, 2], (x + 100, y + 100))
    assert donated[1].tolist() == [0, 101, 102, 3]
    assert rows.leave_out((x, y), []) == (x, y)


def test_rows_are_left_out_of_parts_of_every_kind() -> None:
    ragged = tf.ragged.constant([[1], [2, 2], [3, 3, 3], []])
    sparse = tf.sparse.from_dense([[0, 1], [2, 0], [0, 0], [4, 4]])
    later, y = np.arange(8).reshape(2, 4), np.arange(4)
    left = rows.leave_out({"r": ragged, "s": sparse, "t": later, "y": y}, [1])
    assert left["r"].to_list() == [[1], [1], [3, 3, 3], []]
    assert tf.sparse.to_dense(left["s"]).numpy().tolist() == [[0, 1], [0, 1], [0, 0], [4, 4]]
    assert left["t"].tolist() == [[0, 0, 2, 3], [4, 4, 6, 7]]
    assert left["y"].tolist() == [0, 0, 2, 3]


def test_the_rows_of_ragged_batches_of_other_lengths_can_be_exchanged() -> None:
    y = np.arange(3)
    one, other = ((tf.ragged.constant(r), y) for r in ([[1], [2], []], [[5, 5], [6], [7]]))
    assert rows._alike(one, other)
    donated = rows.leave_out(one, [2], other)
    assert donated[0].to_list() == [[1], [2], [7]]
    assert not rows._alike(one, (y, y))
    assert not rows._alike((y[:2],), (y,))
    assert not rows._alike((y.astype(np.float32),), (y,))


def test_rules_for_rows() -> None:
    usual = [np.random.default_rng(i).normal(size=(6, 3)) for i in range(4)]
    bad, far = usual[0].copy(), usual[1].copy()
    bad[2, 1], far[4] = np.nan, 1e6
    change = rows.non_finite_rows(bad, usual)
    assert not arrays.badness(change.batch(0, bad))
    assert (change.dropped, change.seen) == (1, 6)
    change.batch(0, bad)
    assert (change.dropped, change.seen) == (1, 6)
    outlier = rows.far_rows([far], usual)
    assert outlier.batch(0, far).max() < 100 and outlier.batch(1, usual[2]) is usual[2]
    with pytest.raises(Unfit):
        rows.non_finite_rows(usual[0], usual)
    with pytest.raises(Unfit):
        rows.far_rows([usual[0]], usual)


def test_rows_that_empty_the_batch_are_no_fix() -> None:
    change = rows.WithoutRows("drop_bad_rows", "", lambda batch: {0, 1, 2})
    change.batch(0, np.zeros((4, 1)))
    tried = Tried()
    tried.losses, tried.steps = [1.0] * 60, list(range(60))
    tried.dropped, tried.seen = change.dropped, change.seen
    found = Judge(0, 5, [1.0] * 10).before(tried, 5)
    assert found is not None and found[0] == "still_fails" and "too many rows" in found[1]


@pytest.mark.parametrize("guilty", [[3], [0, 7], [2, 5]])
def test_the_guilty_rows_are_found_by_halving(guilty: list[int]) -> None:
    asked = []

    def fails(chosen: set[int]) -> bool:
        asked.append(chosen)
        return bool(chosen & set(guilty))

    assert sorted(rows._culprits(fails, list(range(8)), 2)) == guilty
    assert len(asked) < 16
    assert rows._culprits(lambda chosen: len(chosen) > 4, list(range(8)), 2) == []
    assert rows._culprits(lambda chosen: True, list(range(8)), 2) == []


def test_data_is_brought_to_unit_scale() -> None:
    table = np.random.default_rng(1).normal(size=(32, 3)) * [1.0, 1e3, 5.0] + [0.0, 1e3, 0.0]
    image = np.random.default_rng(2).random((32, 4, 4, 1)) * 255.0
    change = data.Normalise([(table, np.ones((32, 1)))])
    scaled = change.batch(0, (table, np.ones((32, 1))))
    assert np.abs(scaled[0].mean(0)).max() < 0.5 and scaled[0].std(0).min() > 0.5
    assert scaled[1].tolist() == [[1.0]] * 32
    assert data.Normalise([(image, None)]).batch(0, (image, None))[0].max() <= 1.01
    with pytest.raises(Unfit):
        data.Normalise([(np.random.default_rng(3).normal(size=(8, 3)), None)])
    target = data.Normalise([(table, table[:, 1:2])], targets=True)
    assert not target.comparable
    assert np.abs(target.batch(0, (table, table[:, 1:2]))[1]).max() < 5


# -- the network
def dense(units: int, activation: str | None, loss: Any) -> entry.Case:
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, "sigmoid"), keras.layers.Dense(units, activation)]
    )
    model.compile("sgd", loss=loss)
    return entry.Case({"model": model, "batch": batch})


X = np.ones((4, 3), np.float32)
BINARY = np.asarray([[0.0], [1.0], [1.0], [0.0]], np.float32)
CLASSES = np.asarray([0, 1, 2, 1])


@pytest.mark.parametrize(
    ("units", "activation", "loss", "y", "wanted"),
    [
        (1, "softmax", "binary_crossentropy", BINARY, "sigmoid"),
        (1, None, "binary_crossentropy", BINARY, "sigmoid"),
        (3, "relu", "categorical_crossentropy", np.eye(3)[CLASSES], "softmax"),
        (3, "tanh", "sparse_categorical_crossentropy", CLASSES, "softmax"),
        (1, "sigmoid", "binary_crossentropy", BINARY, None),
        (3, None, "mse", np.eye(3)[CLASSES], None),
        (1, None, keras.losses.BinaryCrossentropy(from_logits=True), BINARY, None),
    ],
)
def test_the_output_activation_that_belongs_to_a_loss(
    units: int, activation: str | None, loss: Any, y: Any, wanted: str | None
) -> None:
    case = dense(units, activation, loss)
    if wanted is None:
        with pytest.raises(Unfit):
            network.fitting_output(case, (X, y), None)
        return
    change = network.fitting_output(case, (X, y), None)
    last = case.model.layers[-1]
    before = last.activation
    with change.active():
        assert last.activation.__name__ == wanted
    assert last.activation is before


@pytest.mark.usefixtures("fresh")
def test_kernels_of_an_unusual_scale_are_drawn_anew() -> None:
    model = keras.Sequential(
        [
            keras.Input((50,)),
            keras.layers.Dense(
                40, "relu", kernel_initializer=keras.initializers.RandomNormal(0, 3)
            ),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", loss="mse")
    case = entry.Case({"model": model, "batch": batch})
    everything = state.State(case.restore)
    built = everything.snapshot()
    change = network.Initialise(case, everything, built)
    other = change.values(built)
    changed = [k for k in built.values if other.values[k] is not built.values[k]]
    assert len(changed) == 1
    assert other.values[changed[0]].std() == pytest.approx(np.sqrt(2 / 50), rel=0.2)


# -- the judge
def tried(losses: list[float], start: int = 0) -> Tried:
    found = Tried()
    found.losses, found.steps = losses, list(range(start, start + len(losses)))
    return found


def judged(losses: list[float], healthy: list[float], frozen: float = 2.0) -> str:
    """Judge a course against a baseline that fails after the healthy losses.

    `frozen` is the loss that the weights of the start have on each batch of the course.
    """
    judge = Judge(0, len(healthy), healthy)
    untrained = healthy[0] if healthy else math.nan
    judge.learn_from(tried(healthy), dict.fromkeys(range(len(healthy)), untrained))
    change = SimpleNamespace(comparable=True, from_built=False, slows=False)
    course = tried(losses)
    found = judge.before(course, len(healthy))
    if found is not None:
        return found[0]
    last = dict.fromkeys(course.steps[-16:], frozen)
    return judge.after(change, course, last)[0]  # type: ignore[arg-type]


FALLING = [2.0 - 0.05 * i for i in range(20)]


def test_a_remedy_is_a_fix_only_if_training_goes_on() -> None:
    assert judged([2.0 - 0.03 * i for i in range(60)], FALLING, 2.0) == "fixed"
    # a rate of nearly 0: finite, and the loss stands still or hardly falls
    assert judged([2.0] * 60, FALLING, 2.0) == "still_fails"
    assert judged([1.1 - 1e-5 * i for i in range(60)], FALLING, 1.1001) == "delayed"
    assert judged([5.0] * 60, FALLING, 2.0) == "still_fails"
    # no healthy part: it has to fall clearly
    assert judged([3.0 - 0.01 * i for i in range(60)], [], 3.0) == "fixed"
    assert judged([3.0 - 1e-4 * i for i in range(60)], [], 3.0) == "still_fails"
    assert judged([3.0] * 60, [], 3.0) == "still_fails"
    # a loss that stood still before may go on to
    flat = [1.0, 1.02, 0.98] * 7
    assert judged([1.0, 1.02, 0.98] * 20, flat, 1.0) == "fixed"


def test_what_ends_early_or_has_no_loss_is_no_fix() -> None:
    judge = Judge(0, 10, FALLING)
    for course, at, status in (
        (tried([1.0] * 8), 8, "still_fails"),
        (tried([1.0] * 30), 30, "delayed"),
    ):
        course.failed_at = at
        found = judge.before(course, 10)
        assert found is not None and found[0] == status
    cut = tried([1.0] * 40)
    cut.cut = True
    assert judge.before(cut, 10) == ("not_applicable", " (no time left)")
    assert judge.before(tried([1.0] * 5), 10) == ("not_applicable", " (no more data)")
    silent = judge.before(tried([math.nan] * 60), 10)
    assert silent is not None and silent[0] == "delayed" and "no loss tells" in silent[1]


def test_a_smaller_step_of_a_loss_that_stood_still_proves_nothing() -> None:
    flat = [1.0, 1.02, 0.98] * 7
    judge = Judge(0, len(flat), flat)
    judge.learn_from(tried(flat), dict.fromkeys(range(len(flat)), 1.0))
    slower = SimpleNamespace(comparable=True, from_built=False, slows=True)
    course = tried(flat * 3)
    assert judge.after(slower, course, dict.fromkeys(course.steps[-16:], 1.0))[0] == "delayed"  # type: ignore[arg-type]


def test_a_sick_run_is_bettered_only_by_a_loss_that_falls_throughout() -> None:
    assert falls([3.0 - 0.01 * i for i in range(120)])
    assert not falls([3.0] * 120)
    assert not falls([*([1.0] * 60), *([3.0] * 60)])


# -- whole trials
@pytest.mark.usefixtures("fresh")
def test_a_step_that_no_remedy_touches_is_not_judged() -> None:
    weight = tf.Variable([1.0])

    def step(x: Any) -> Any:
        weight.assign_add(x)
        return tf.reduce_sum(weight / (3.0 - weight))

    case = entry.Case(
        {"step": step, "batch": lambda i: np.ones(1, np.float32), "restore": {"w": weight}}
    )
    steps = stepper.Stepper(case, state.State(case.restore))
    before = steps.state.snapshot()
    outcome = stepper.Outcome(math.inf, arrays.POS, None)
    failure = SimpleNamespace(
        step=1, before=before, batch=steps.batch(1), outcome=outcome, symptom="loss",
        healthy=None, trial_start=(0, before), losses=[1.0], found=None,
    )  # fmt: skip
    found = Trials(steps, failure, [], before, {"loss_limit": None}, time.monotonic() + 60).run()
    # there is no gradient to clip and no rate to lower
    assert not {r["remedy"] for r in found} & {"learning_rate_div_10", "clip_global_norm"}
    assert {row["status"] for row in found} <= {"not_applicable", "still_fails"}
    assert found[0]["baseline"] == "fails at step 1 when run from step 0"


@pytest.mark.usefixtures("fresh")
def test_steps_are_run_with_a_change_and_with_the_weights_of_the_start() -> None:
    steps = prepared(entry.Case({"model": compiled(), "batch": batch}))
    before = steps.state.snapshot()
    runner = Runner(steps, None, math.inf)
    course = runner.run(Change(), 0, before, 19)
    assert course.survived == 20 and course.failed_at is None
    frozen = runner.frozen(Change(), before, course.steps)
    assert frozen[0] == pytest.approx(course.losses[0])
    assert np.mean([frozen[s] > course.by_step[s] for s in range(5, 20)]) > 0.7
    limited = Runner(steps, 1e-9, math.inf).run(Change(), 0, before, 5)
    assert (limited.failed_at, limited.symptom) == (0, "diverged")
