"""What to change, in words and in code for Keras 3 and for a hand-written loop."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from forensics.diagnosis.variants import EVERYWHERE, LOWER, belonging
from forensics.domain.diagnosis import Remedy
from forensics.domain.replay import Origin, Phase, ReplayResult, TrialStatus

_CLIP = """\
# Keras 3
optimizer = keras.optimizers.Adam(learning_rate, global_clipnorm=1.0)
# GradientTape
gradients, norm = tf.clip_by_global_norm(tape.gradient(loss, variables), 1.0)
optimizer.apply_gradients(zip(gradients, variables))"""

_RATE = """\
# before compile, or between two epochs
optimizer.learning_rate = float(optimizer.learning_rate) / 10"""

_WARM_UP = """\
schedule = keras.optimizers.schedules.CosineDecay(
    initial_learning_rate=0.0, decay_steps=steps, warmup_target=learning_rate, warmup_steps=1000)
optimizer = keras.optimizers.Adam(schedule)"""

_LOGITS = """\
# Keras 3: no activation in the last layer, the loss takes the logits
keras.layers.Dense(classes)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
# GradientTape
loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))"""

_SAFE_LOG = """\
# instead of tf.math.log(p)
tf.math.log(tf.clip_by_value(p, 1e-7, 1.0))       # keras.ops.log(keras.ops.clip(p, 1e-7, 1.0))
tf.math.xlogy(y, tf.maximum(p, 1e-7))             # y * log(p) with 0 where y is 0"""

_SAFE_DIVISION = """\
# instead of a / b
tf.math.divide_no_nan(a, b)                       # 0 where b is 0
a / tf.maximum(b, 1e-6)                           # for a divisor that cannot be negative
tf.math.l2_normalize(x, axis=-1, epsilon=1e-12)   # instead of x / tf.norm(x)"""

_SAFE_SQRT = """\
# instead of tf.sqrt(s), whose derivative at 0 is infinite (norms and deviations hold one)
tf.sqrt(s + 1e-12)                                # keras.ops.sqrt(s + 1e-12)
tf.sqrt(tf.math.reduce_variance(x, axis) + 1e-6)  # instead of tf.math.reduce_std(x, axis)"""

_SAFE_EXP = """\
# instead of tf.exp(x), which is infinite in float32 from x = 89 on
tf.exp(tf.minimum(x, 80.0))                       # keras.ops.exp(keras.ops.minimum(x, 80.0))
tf.math.reduce_logsumexp(x, axis)                 # instead of log(sum(exp(x)))
tf.math.softplus(x)                               # instead of log(1 + exp(x)), or for a scale"""

_CLIP_OPERAND = """\
# acos, asin, atanh and erfinv have no value beyond -1 and 1, and no finite slope there
tf.acos(tf.clip_by_value(x, -1 + 1e-6, 1 - 1e-6))
tf.acosh(tf.maximum(x, 1 + 1e-6))"""

_JITTER = """\
# a matrix that is singular to rounding has no factor and no inverse: lift its eigenvalues
tf.linalg.cholesky(a + 1e-6 * tf.eye(tf.shape(a)[-1], dtype=a.dtype))"""

_DOUBLE_WHERE = """\
# a branch that tf.where does not take still gets a gradient of 0 * inf: make its operand safe first
safe = tf.where(x > 0, x, tf.ones_like(x))
y = tf.where(x > 0, tf.math.log(safe), tf.zeros_like(x))
# a softmax whose every key is masked: use a large finite number instead of -inf
scores = tf.where(mask, scores, -1e9)"""

_CHECK_DATA = """\
for i, batch in enumerate(dataset):
    for part in tf.nest.flatten(batch):
        if part.dtype.is_floating and not tf.reduce_all(tf.math.is_finite(part)):
            print("batch", i, "rows", tf.where(~tf.math.is_finite(part))[:, 0].numpy())"""

_DROP_BAD = """\
dataset = dataset.unbatch().filter(
    lambda x, y: tf.reduce_all(tf.math.is_finite(x)) & tf.reduce_all(tf.math.is_finite(y))
).batch(batch_size)"""

_NORMALISE = """\
normalise = keras.layers.Normalization()          # learns mean and variance of every column
normalise.adapt(x_train)
model = keras.Sequential([normalise, *model.layers])
# GradientTape
x = (x - mean) / (std + 1e-6)"""

_OUTLIERS = """\
limit = 100 * np.median(np.abs(y_train))
keep = np.abs(y_train) < limit                    # look at what is dropped before training on
x_train, y_train = x_train[keep], y_train[keep]"""

_ROBUST = """\
model.compile(optimizer, loss=keras.losses.Huber(delta=1.0))   # linear for large errors"""

_LABELS = """\
assert y.min() >= 0 and y.max() < model.output_shape[-1], (y.min(), y.max())"""

_HE = """\
keras.layers.Dense(units, activation="relu", kernel_initializer="he_normal")"""

_NORM_LAYERS = """\
# after each block
x = keras.layers.LayerNormalization()(x)          # or BatchNormalization"""

_FLOAT32 = """\
keras.config.set_dtype_policy("float32")          # or only where it overflows:
keras.layers.Activation("softmax", dtype="float32")
loss = loss_function(y, tf.cast(predictions, tf.float32))"""

_ALL_FLOAT32 = """\
keras.config.set_dtype_policy("float32")          # before the model is built
x = tf.cast(x, tf.float32)                        # where the program casts by hand"""

_SCALING = """\
# Keras 3 scales the loss by itself under "mixed_float16" in fit(); in a loop:
optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
scaled = optimizer.scale_loss(loss)               # differentiate this, then optimizer.apply(...)"""

_MATCH = """\
# one unit
keras.layers.Dense(1, activation="sigmoid"); loss = "binary_crossentropy"
# K classes, integer labels
keras.layers.Dense(K, activation="softmax"); loss = "sparse_categorical_crossentropy"
# no activation in the last layer
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)"""

_RELU = """\
keras.layers.Dense(units, activation="relu", kernel_initializer="he_normal")   # not sigmoid/tanh"""

_RESIDUAL = """\
y = block(x)
x = keras.layers.Add()([x, y])                    # a path on which the gradient does not shrink"""

_LEAKY = """\
keras.layers.Dense(units, activation="leaky_relu", kernel_initializer="he_normal")"""

_SLOTS = """\
# weights from the last clean checkpoint, a fresh optimizer without its slots
tf.train.Checkpoint(model=model).restore(last_clean).expect_partial()
model.compile(keras.optimizers.Adam(learning_rate, global_clipnorm=1.0), loss=loss)"""

_EPSILON = """\
optimizer = keras.optimizers.Adam(learning_rate, epsilon=1e-4)  # float16 ends near 6e-8"""

_MASK = """\
# softmax of a row whose every score is -inf is 0/0: mask with a large finite number
scores = tf.where(mask, scores, -1e9)             # float16: -3e4"""

_ROWS = """\
# look at these rows first: what makes them different is the cause
bad = set(rows)                                   # as numbered in the report, per batch
keep = [i for i in range(len(x)) if i not in bad]
x, y = x[keep], y[keep]"""

_TARGETS = """\
mean, std = y_train.mean(), y_train.std()
model.fit(x_train, (y_train - mean) / std)        # and y = model.predict(x) * std + mean"""

_BOUNDED = """\
keras.layers.LSTM(units)                          # activation="tanh", as is the default"""

_CLIP_VALUE = """\
optimizer = keras.optimizers.Adam(learning_rate, clipvalue=0.5)"""

_NO_JIT = """\
model.compile(optimizer, loss=loss, jit_compile=False)"""

_RESTORE = """\
# restore the last checkpoint that `forensics checkpoint LOGDIR` calls clean, and check it
for v in model.variables:
    tf.debugging.assert_all_finite(v, v.path)"""

_SCHEDULE = """\
callbacks = [keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.3, patience=5)]"""

_RECORD = """\
model.fit(..., callbacks=[forensics.FlightRecorder(LOGDIR)])"""

_REPLAY = """\
forensics analyze LOGDIR --replay train.py:replay_case"""

_REPORT = """\
# writes DIR/reproducer.py, which needs TensorFlow only: attach it to an issue
forensics analyze LOGDIR --replay train.py:replay_case --reproducer DIR"""

REMEDIES: dict[str, tuple[str, str]] = {
    "clip_global_norm": ("one bad step cannot move the weights far", _CLIP),
    "learning_rate_div_10": ("the step stays inside the stable range", _RATE),
    "learning_rate_times_10": ("the steps are too small to see", _RATE.replace("/ 10", "* 10")),
    "clip_value": ("no element of a gradient gets large", _CLIP_VALUE),
    "learning_rate_div_100": (
        "the step stays inside the stable range",
        _RATE.replace("/ 10", "/ 100"),
    ),
    "learning_rate_div_1000": (
        "the step stays inside the stable range",
        _RATE.replace("/ 10", "/ 1000"),
    ),
    "learning_rate_div_10000": (
        "the step stays inside the stable range",
        _RATE.replace("/ 10", "/ 10000"),
    ),
    "warm_up": ("the first steps, where curvature is highest, are small", _WARM_UP),
    "learning_rate_schedule": ("a smaller step leaves the plateau's edge", _SCHEDULE),
    "from_logits": ("logarithm and softmax are computed together, without log(0)", _LOGITS),
    "safe_log": ("the logarithm never meets 0", _SAFE_LOG),
    "safe_division": ("the divisor never is 0", _SAFE_DIVISION),
    "safe_sqrt": ("the root keeps a finite derivative at 0", _SAFE_SQRT),
    "safe_exp": ("the exponent stays below the overflow", _SAFE_EXP),
    "clip_operand": ("the operand stays inside the op's domain", _CLIP_OPERAND),
    "regularise_matrix": ("the matrix stays positive definite", _JITTER),
    "double_where": ("the branch that is not taken gets harmless operands", _DOUBLE_WHERE),
    "finite_mask": ("no row of scores is infinite throughout", _MASK),
    "check_data": ("finds the batches and rows that hold NaN or Inf", _CHECK_DATA),
    "drop_bad_rows": ("training never sees them", _DROP_BAD),
    "normalise_inputs": ("all columns get unit scale", _NORMALISE),
    "drop_culprit_rows": ("these rows alone make the step fail", _ROWS),
    "drop_outliers": ("one corrupt record cannot overflow the loss", _OUTLIERS),
    "normalise_targets": ("the loss and its gradients get unit scale", _TARGETS),
    "robust_loss": ("the gradient of an outlier is bounded", _ROBUST),
    "check_labels": ("finds the label before the loss does", _LABELS),
    "he_initialisation": ("every layer keeps the scale of its input", _HE),
    "normalise_layers": ("activations keep unit scale whatever the depth", _NORM_LAYERS),
    "float32": ("float32 reaches 3.4e38, float16 ends at 65504", _ALL_FLOAT32),
    "float32_output": ("the last layers and the loss get the range of float32", _FLOAT32),
    "loss_scaling": ("small gradients survive, overflowing steps are skipped", _SCALING),
    "bfloat16": (
        "the range of float32 at half the size",
        'keras.config.set_dtype_policy("mixed_bfloat16")',
    ),
    "match_loss": ("activation and loss belong together", _MATCH),
    "relu_he": ("the slope of the activation is 1, not below 1/4", _RELU),
    "bounded_recurrence": ("the state cannot grow from step to step", _BOUNDED),
    "residual": ("the gradient has a path around each block", _RESIDUAL),
    "leaky_relu": ("units that are off still get a gradient", _LEAKY),
    "reset_slots": ("poisoned moments are dropped, weights are kept", _SLOTS),
    "larger_epsilon": ("the divisor of the update cannot underflow", _EPSILON),
    "jit_off": ("the kernels are those of TensorFlow, not of XLA", _NO_JIT),
    "restore_clean": ("the run starts from finite weights", _RESTORE),
    "repeat_elsewhere": ("tells a machine's fault from the program's", _REPLAY),
    "report_defect": ("a script of one op lets the maintainers see and mend it", _REPORT),
    "replay": ("names the op that made the first bad value", _REPLAY),
    "record": ("keeps the failing batch and state next time", _RECORD),
}
"""Slug: why it helps, and the code."""


_TENTH = "learning_rate_div_10"
_STILL_LOWER = Remedy(
    "learning_rate_div_100",
    "a tenth only delayed the failure; not tried: a hundredth, reached by a warm-up if it is too "
    "slow",
    _RATE.replace("/ 10", "/ 100"),
)
"""What follows where a trial of a tenth of the rate failed later."""

_FITTING = {
    **dict.fromkeys(("RealDiv", "Div", "Reciprocal", "Inv", "Xdivy", "Mean"), "safe_division"),
    **dict.fromkeys(("Sqrt", "SqrtGrad", "Rsqrt", "RsqrtGrad"), "safe_sqrt"),
    **dict.fromkeys(("Log", "Log1p", "Xlogy"), "safe_log"),
    **dict.fromkeys(("Exp", "Expm1", "Sinh", "Cosh"), "safe_exp"),
    **dict.fromkeys(("Acos", "Asin", "Acosh", "Atanh", "Erfinv"), "clip_operand"),
    **dict.fromkeys(
        ("Cholesky", "CholeskyGrad", "MatrixInverse", "MatrixSolve", "MatrixTriangularSolve",
         "MatrixDeterminant", "LogMatrixDeterminant", "SelfAdjointEigV2", "Svd", "Qr"),
        "regularise_matrix",
    ),
    "Pow": "double_where",
    **dict.fromkeys(("Softmax", "LogSoftmax"), "finite_mask"),
}  # fmt: skip
"""Safe form of an op that left its domain (`Mean`: of nothing, which divides by 0)."""

_GENERAL = "double_where"
"""Helps whatever the op is."""

_SAFE_FORMS = frozenset(_FITTING.values())


def remedies(slugs: Iterable[str], replay: ReplayResult | None) -> tuple[Remedy, ...]:
    """Return the remedies with what their trials said; those that helped come first.

    Where the replay named an op, its own safe form comes next and those of other ops are left out.
    Where a tenth of the learning rate failed later, a still lower one comes after it. Other forms
    of a remedy are named where they helped.
    """
    listed = slugs = tuple(slugs)
    tried = {
        t.remedy: t.status.value
        for t in (replay.trials if replay is not None else ())
        if t.status is not TrialStatus.NOT_APPLICABLE
    }
    if replay is not None and replay.origin is not None and replay.origin.op_type is not None:
        own = _safe_form(replay.origin)
        slugs = tuple(
            sorted(
                (s for s in slugs if s in (own, None if own else _GENERAL) or s not in _SAFE_FORMS),
                key=lambda s: s != own,
            )
        )
    helped = [s for s in (*belonging(listed), *EVERYWHERE) if tried.get(s) == "fixed"]
    slugs = tuple(dict.fromkeys((*slugs, *helped)))
    found = sorted(
        (Remedy(slug, *REMEDIES[slug], trial=tried.get(slug)) for slug in slugs), key=_order
    )
    if any(slug in tried for slug in LOWER):
        return tuple(found)
    return tuple(chain.from_iterable(map(_with_next, found)))


def _order(remedy: Remedy) -> int:
    """Return what helped first, what did not last; a later failure speaks for a lower rate."""
    if remedy.trial == "delayed" and remedy.remedy == _TENTH:
        return 1
    return {"fixed": 0, None: 1, "delayed": 2, "still_fails": 3}[remedy.trial]


def _with_next(remedy: Remedy) -> tuple[Remedy, ...]:
    delayed = remedy.remedy == _TENTH and remedy.trial == "delayed"
    return (remedy, _STILL_LOWER) if delayed else (remedy,)


def _safe_form(origin: Origin) -> str | None:
    """Slug of the safe form of the first bad op, None when it has none of its own."""
    if origin.phase is Phase.BACKWARD and origin.forward_op_type in ("Log", "Log1p", "RealDiv"):
        # the forward value was fine or masked: only its gradient left the domain
        return _GENERAL
    return _FITTING.get(origin.op_type or "") or _FITTING.get(origin.forward_op_type or "")
