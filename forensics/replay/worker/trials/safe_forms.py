"""The safe form of each op that leaves its domain, as other operands for the same op."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from .rewriting import Form, Operands

LOG, DIVIDE, ROOT, RECIPROCAL_ROOT = 1e-7, 1e-12, 1e-12, 1e-8
EDGE = 1e-6
"""How far operands are kept from where an op ends (1e-7 is Keras's own epsilon; the square of 1e-6
is the 1e-12 under a root)."""
HALF = 1e-4
"""The same in half precision: the smallest normal number of float16 is 6e-5, and 1 - 1e-4 is 1 in
bfloat16, so that there only float32 helps."""
EXPONENTS = {"float16": 10.0, "bfloat16": 80.0, "float32": 80.0, "float64": 700.0}
"""Arguments whose exponential leaves room below the overflow (88.7 in float32)."""
MODERATE = 20.0
"""A tighter limit, for exponentials that are summed, squared or multiplied afterwards."""
MASK = {"float16": 3e4}
JITTER = 1e-4
"""Relative to the mean of the diagonal."""


def safe_form(op_type: str) -> Optional[Tuple[str, str, List[Tuple[str, Form]]]]:
    """Return slug, family and the forms of an op (from the mildest on), None when it has none.

    Each form comes with the words for what it does; ``%s`` stands for the op.
    """
    return _FORMS.get(op_type)


def _tensor(value: Any, like: Any = None) -> Any:
    import tensorflow as tf

    dtype = getattr(like, "dtype", None)
    return value if isinstance(value, tf.Tensor) else tf.convert_to_tensor(value, dtype)


def _small(tensor: Any, value: float) -> Any:
    import tensorflow as tf

    half = tensor.dtype in (tf.float16, tf.bfloat16)
    return tf.cast(max(value, HALF) if half else value, tensor.dtype)


def _at_least(name: str, least: float) -> Form:
    def form(op_type: str, given: Operands) -> Optional[Operands]:
        import tensorflow as tf

        x = _tensor(given[name])
        if not x.dtype.is_floating:
            return None
        floor = tf.cast(least, x.dtype) if least < 0 else _small(x, least)
        return {name: tf.maximum(x, floor)}

    return form


def _above(name: str, edge: float) -> Form:
    """Keep an operand above an edge by a little (acosh and log1p begin there)."""

    def form(op_type: str, given: Operands) -> Operands:
        import tensorflow as tf

        x = _tensor(given[name])
        return {name: tf.maximum(x, tf.cast(edge, x.dtype) + _small(x, EDGE))}

    return form


def _inside(name: str, low: float, high: float) -> Form:
    def form(op_type: str, given: Operands) -> Operands:
        import tensorflow as tf

        x = _tensor(given[name])
        gap = _small(x, EDGE)
        return {
            name: tf.clip_by_value(x, tf.cast(low, x.dtype) + gap, tf.cast(high, x.dtype) - gap)
        }

    return form


def _divided(above: str, below: str) -> Form:
    """0 where the divisor is 0, as `divide_no_nan`; its gradient is 0 there as well."""

    def form(op_type: str, given: Operands) -> Optional[Operands]:
        import tensorflow as tf

        y = _tensor(given[below], given[above])
        x = _tensor(given[above], y)
        if not y.dtype.is_floating:
            return None
        zero = tf.abs(y) < _small(y, DIVIDE)
        x = tf.where(zero, tf.zeros_like(x), x)
        return {above: x, below: tf.where(zero, tf.ones_like(y), y)}

    return form


def _kept_from_zero(above: str, below: str) -> Form:
    def form(op_type: str, given: Operands) -> Optional[Operands]:
        import tensorflow as tf

        y = _tensor(given[below], given[above])
        if not y.dtype.is_floating:
            return None
        least = _small(y, EDGE)
        away = tf.where(y < 0, -tf.ones_like(y), tf.ones_like(y)) * least
        return {below: tf.where(tf.abs(y) < least, away, y)}

    return form


def _reciprocal(op_type: str, given: Operands) -> Operands:
    return _kept_from_zero("x", "x")(op_type, given) or {}


def _power(op_type: str, given: Operands) -> Optional[Operands]:
    """0 to a negative power becomes 0 (the power of a huge base), and roots take no negative."""
    import tensorflow as tf

    x = _tensor(given["x"], given["y"])
    y = _tensor(given["y"], x)
    if not x.dtype.is_floating:
        return None
    zero = (tf.abs(x) < _small(x, DIVIDE)) & (y < 1)
    huge = tf.cast(1e4 if x.dtype == tf.float16 else 1e30, x.dtype)
    base = tf.where(zero, tf.where(y < 0, huge, tf.ones_like(x)), x)
    broken = (base < 0) & (tf.math.floor(y) != y)
    return {"x": tf.where(broken, _small(x, EDGE) * tf.ones_like(base), base)}


def _exponent(name: str, limit: Optional[float], both: bool = False) -> Form:
    def form(op_type: str, given: Operands) -> Operands:
        import tensorflow as tf

        x = _tensor(given[name])
        most = EXPONENTS.get(x.dtype.name, MODERATE)
        top = tf.cast(min(most, limit) if limit is not None else most, x.dtype)
        return {name: tf.clip_by_value(x, -top, top) if both else tf.minimum(x, top)}

    return form


def _finite(*names: str) -> Form:
    """Large finite numbers in place of infinite ones: masks that softmax and sums can take."""

    def form(op_type: str, given: Operands) -> Operands:
        import tensorflow as tf

        changed = {}
        for name in names:
            x = given.get(name)
            if x is None or not tf.is_tensor(x) or not x.dtype.is_floating:
                continue
            top = tf.cast(MASK.get(x.dtype.name, 1e9), x.dtype)
            changed[name] = tf.where(tf.math.is_inf(x), tf.sign(x) * top, x)
        return changed

    return form


def _padded(op_type: str, given: Operands) -> Operands:
    """Give a reduction of nothing a 0 to reduce."""
    import tensorflow as tf

    x = _tensor(given["input"])
    axes = tf.reshape(tf.cast(_tensor(given["reduction_indices"]), tf.int32), [-1])
    rank = tf.rank(x)
    reduced = tf.reduce_any(
        tf.equal(tf.range(rank)[:, None], tf.math.floormod(axes, tf.maximum(rank, 1))[None, :]), 1
    )
    more = tf.cast(reduced & tf.equal(tf.shape(x), 0), tf.int32)
    return {"input": tf.pad(x, tf.stack([tf.zeros_like(more), more], 1))}


def _jittered(name: str) -> Form:
    """Lift the eigenvalues of a matrix; a symmetric one stays symmetric."""

    def form(op_type: str, given: Operands) -> Operands:
        import tensorflow as tf

        a = _tensor(given[name])
        n = tf.shape(a)[-1]
        scale = tf.reduce_mean(tf.abs(tf.linalg.diag_part(a)), -1) + tf.cast(
            EDGE, a.dtype.real_dtype
        )
        lift = tf.cast(JITTER, scale.dtype) * scale
        eye = tf.eye(n, dtype=a.dtype)
        return {name: a + tf.cast(lift, a.dtype)[..., None, None] * eye}

    return form


def _known_labels(op_type: str, given: Operands) -> Operands:
    """Give rows whose label is no class a loss of 0, and no gradient."""
    import tensorflow as tf

    logits, labels = _tensor(given["features"]), _tensor(given["labels"])
    classes = tf.shape(logits)[-1]
    bad = (labels < 0) | (tf.cast(labels, tf.int64) >= tf.cast(classes, tf.int64))
    top = tf.cast(1e4, logits.dtype)
    sure = top * tf.one_hot(tf.zeros_like(labels), classes, dtype=logits.dtype)
    return {
        "features": tf.where(bad[..., None], sure, logits),
        "labels": tf.where(bad, tf.zeros_like(labels), labels),
    }


def _known_index(op_type: str, given: Operands) -> Operands:
    """Take the last entry of a table, the unknown, for an index outside of it."""
    import tensorflow as tf

    values, at = given["params"], _tensor(given["indices"])
    size = tf.shape(_tensor(values))[0]
    return {"indices": tf.clip_by_value(at, 0, tf.cast(size, at.dtype) - 1)}


def _known_row(op_type: str, given: Operands) -> Operands:
    """Do the same for a table that is a variable."""
    import tensorflow as tf
    from tensorflow.python.ops.resource_variable_ops import variable_shape

    at = _tensor(given["indices"])
    size = variable_shape(given["resource"])[0]
    return {"indices": tf.clip_by_value(at, 0, tf.cast(size, at.dtype) - 1)}


_DIVISIONS = [
    ("%s is 0 where its divisor is 0", _divided("x", "y")),
    ("divisor of %s kept 1e-6 away from 0", _kept_from_zero("x", "y")),
]
_LAST = "indices of %s outside of their table replaced by the last"
_MASKS = [("infinite operands of %s replaced by ±1e9", _finite("x", "y", "a", "b", "logits"))]

_FORMS: Dict[str, Tuple[str, str, List[Tuple[str, Form]]]] = {
    **dict.fromkeys(
        ("Log",), ("safe_log", "safe form", [("operand of %s at least 1e-7", _at_least("x", LOG))])
    ),
    "Log1p": ("safe_log", "safe form", [("operand of %s above -1 + 1e-6", _above("x", -1.0))]),
    "Xlogy": (
        "safe_log", "safe form", [("second operand of %s at least 1e-7", _at_least("y", LOG))],
    ),
    **dict.fromkeys(
        ("RealDiv", "Div", "DivNoNan", "Xdivy"), ("safe_division", "safe form", _DIVISIONS)
    ),
    **dict.fromkeys(
        ("Reciprocal", "Inv"),
        ("safe_division", "safe form", [("operand of %s kept 1e-6 away from 0", _reciprocal)]),
    ),
    **dict.fromkeys(
        ("Mean", "Max", "Min"),
        ("safe_division", "safe form", [("%s of nothing is 0", _padded)]),
    ),
    "Sqrt": ("safe_sqrt", "safe form", [("operand of %s at least 1e-12", _at_least("x", ROOT))]),
    "Rsqrt": (
        "safe_sqrt", "safe form",
        [("operand of %s at least 1e-8", _at_least("x", RECIPROCAL_ROOT))],
    ),
    "Pow": ("double_where", "safe form", [("%s of 0 to a negative power is 0", _power)]),
    **dict.fromkeys(
        ("Exp", "Expm1"),
        ("safe_exp", "safe form",
         [("operand of %s kept below its overflow", _exponent("x", None)),
          ("operand of %s at most 20", _exponent("x", MODERATE))]),
    ),
    **dict.fromkeys(
        ("Sinh", "Cosh"),
        ("safe_exp", "safe form", [("operand of %s within ±20", _exponent("x", MODERATE, True))]),
    ),
    **dict.fromkeys(
        ("Acos", "Asin", "Atanh", "Erfinv"),
        ("clip_operand", "safe form",
         [("operand of %s kept within ±(1 - 1e-6)", _inside("x", -1.0, 1.0))]),
    ),
    "Ndtri": (
        "clip_operand", "safe form",
        [("operand of %s kept within 1e-6 and 1 - 1e-6", _inside("x", 0.0, 1.0))],
    ),
    "Acosh": ("clip_operand", "safe form", [("operand of %s above 1 + 1e-6", _above("x", 1.0))]),
    **dict.fromkeys(
        ("Lgamma", "Digamma"),
        ("clip_operand", "safe form", [("operand of %s at least 1e-6", _at_least("x", EDGE))]),
    ),
    **dict.fromkeys(("Softmax", "LogSoftmax"), ("finite_mask", "safe form", _MASKS)),
    **dict.fromkeys(
        ("Cholesky", "MatrixInverse", "LogMatrixDeterminant", "MatrixDeterminant",
         "SelfAdjointEigV2", "Svd", "Qr"),
        ("regularise_matrix", "safe form",
         [("diagonal of the matrix given to %s lifted by 1e-4 of its mean", _jittered("input"))]),
    ),
    **dict.fromkeys(
        ("MatrixSolve", "MatrixTriangularSolve"),
        ("regularise_matrix", "safe form",
         [("diagonal of the matrix given to %s lifted by 1e-4 of its mean", _jittered("matrix"))]),
    ),
    "SparseSoftmaxCrossEntropyWithLogits": (
        "check_labels", "labels", [("rows whose label is no class left out of %s", _known_labels)]
    ),
    **dict.fromkeys(("GatherV2", "Gather"), ("check_labels", "labels", [(_LAST, _known_index)])),
    "ResourceGather": ("check_labels", "labels", [(_LAST, _known_row)]),
}  # fmt: skip

INFINITE_OPERANDS = dict.fromkeys(
    ("Sub", "AddV2", "Add", "Mul", "MatMul", "BatchMatMulV2", "BatchMatMulV3", "Sum"),
    ("finite_mask", "safe form", _MASKS),
)
"""Forms of ops that fail only because an operand was infinite already, by habit: a mask."""
