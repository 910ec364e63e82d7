"""Whether a reproducer that a child sent holds nothing but what its generator writes.

The child runs other people's code, and the user runs the script outside of any wall. Each statement
has to have one of the forms below. Operands are numbers only, a call of an op takes operands and
attributes, and no attribute that names a file or a function: no op that is left can reach either.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

DATA = "reproducer.npz"
_FAILS, _WORKS = "it fails as described", "it does not fail"
_FORMS = f"""
TEXT_
import sys
import numpy as np
import tensorflow as tf
from pathlib import Path
nan, inf = float("nan"), float("inf")
with np.load(Path(__file__).with_name("{DATA}")) as file:
    data = dict(file)
NEW_ = tf.constant(VALUE_, dtype=DTYPE_)
NEW_ = tf.Variable(VALUE_, dtype=DTYPE_)
NEW_ = tf.cast(VALUE_, DTYPE_)
NEW_ = tf.Variable(tf.cast(VALUE_, DTYPE_))
outputs = CALL_
value = tf.cast(ANSWER_, DTYPE_).numpy()
bad = ~np.isfinite(value)
bad = np.isnan(value)
bad = np.isinf(value)
print("TensorFlow", tf.__version__, "NumPy", np.__version__)
print(TEXT_, int(bad.sum()), "of", bad.size, TEXT_, value.ravel()[:8])
print("{_FAILS}" if bad.any() else "{_WORKS}")
sys.exit(1 if bad.any() else 0)
said = ""
try:
    CALL_
except ERROR_ as error:
    said = str(error)
print(TEXT_, said or "no error")
fails = TEXT_ in said.replace('"', "'")
print("{_FAILS}" if fails else "{_WORKS}")
sys.exit(1 if fails else 0)
with tf.GradientTape() as tape:
    tape.watch(OPERANDS_)
    answer = CALL_
print(TEXT_, [g.numpy().ravel()[:8] for g in tape.gradient(answer, OPERANDS_) if g is not None])
print(TEXT_, [g.numpy().ravel()[:8] for g in tape.gradient(answer[0], OPERANDS_) if g is not None])
fails = False
for name, part in data.items():
    rows = np.unique(np.nonzero(~np.isfinite(part))[0])
    print(name, part.dtype, part.shape, "non-finite in rows", rows[:20])
    fails = fails or rows.size > 0
"""
"""What the worker's generator writes; words that end in ``_`` stand for what differs."""
_TEXT_ATTRIBUTES = frozenset((
    "equation", "padding", "data_format", "src_format", "dst_format", "mode", "round_mode",
    "rounding_mode", "align", "fill_mode", "interpolation", "resize_method", "combiner",
    "rnn_mode", "input_mode", "direction", "activation_mode", "message",
))  # fmt: skip
"""Attributes whose texts choose an arithmetic, or are only shown: none is a path or a program."""
_RESERVED = frozenset((
    "tf", "np", "sys", "Path", "print", "int", "float", "complex", "dict", "str", "nan", "inf",
    "data", "file", "outputs", "value", "bad", "said", "fails", "tape", "answer", "g", "name",
    "part", "rows", "error",
))  # fmt: skip
_DTYPE = re.compile(r"bool|half|q?u?int\d+|b?float\d+(_\w+)?|complex\d+")
_ENCODING = re.compile(r"#.*coding[:=]")


def refused(text: str) -> str | None:
    """Return what speaks against a script, None where every statement is of a known form.

    Parameters
    ----------
    text : str
        As the child sent it.
    """
    if any(_ENCODING.search(line) for line in text.splitlines()[:2]):
        return "it names an encoding of its own"
    try:
        # from bytes, as Python reads the file
        statements = ast.parse(text.encode("utf-8")).body
        return _Check().of(statements)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"it cannot be read ({type(error).__name__})"


class _Check:
    """Holds the operands that were made so far."""

    def __init__(self) -> None:
        self.operands: set[str] = set()
        self.holes: dict[str, Callable[[ast.AST], bool]] = {
            "TEXT_": _is_text,
            "NEW_": self._new,
            "VALUE_": _is_value,
            "DTYPE_": _is_dtype,
            "CALL_": self._is_call,
            "ANSWER_": self._is_answer,
            "OPERANDS_": self._are_operands,
            "ERROR_": _is_error,
        }

    def of(self, statements: list[ast.stmt]) -> str | None:
        for statement in statements:
            if not any(self.fits(form, statement) for form in _PARSED):
                return f"line {statement.lineno} is nothing that a reproducer needs"
        return None

    def fits(self, form: object, found: object) -> bool:
        """Compare two trees, their places in the text aside."""
        if isinstance(form, ast.Expr) and isinstance(form.value, ast.Name):
            # a form that is nothing but a hole is a statement all the same
            return isinstance(found, ast.Expr) and self.fits(form.value, found.value)
        if isinstance(form, ast.Name) and form.id in self.holes:
            return isinstance(found, ast.AST) and self.holes[form.id](found)
        if isinstance(form, list):
            return (
                isinstance(found, list)
                and len(form) == len(found)
                and all(self.fits(a, b) for a, b in zip(form, found, strict=True))
            )
        if isinstance(form, ast.AST):
            # values before targets: a name is no operand of its own value
            return type(form) is type(found) and all(
                self.fits(getattr(form, key, None), getattr(found, key, None))
                for key in reversed(form._fields)
            )
        return type(form) is type(found) and form == found

    def _new(self, found: ast.AST) -> bool:
        if not isinstance(found, ast.Name) or found.id in _RESERVED or found.id.startswith("_"):
            return False
        self.operands.add(found.id)
        return True

    def _is_call(self, found: ast.AST) -> bool:
        inner = found
        if isinstance(found, ast.Call) and isinstance(found.func, ast.Call):
            forms = (
                "tf.function(BODY_, autograph=False)()",
                "tf.function(BODY_, autograph=False, jit_compile=True)()",
            )
            wrapped = found.func.args[0] if found.func.args else None
            if not isinstance(wrapped, ast.Lambda) or not self.fits(_NO_ARGUMENTS, wrapped.args):
                return False
            bodies = {"BODY_": lambda node: node is wrapped}
            outer = _Check()
            outer.holes = bodies
            if not any(outer.fits(ast.parse(f, mode="eval").body, found) for f in forms):
                return False
            inner = wrapped.body
        return (
            isinstance(inner, ast.Call)
            and isinstance(inner.func, ast.Attribute)
            and ast.unparse(inner.func.value) == "tf.raw_ops"
            and not inner.func.attr.startswith("_")
            and not inner.args
            and all(self._is_argument(k) for k in inner.keywords)
        )

    def _is_argument(self, keyword: ast.keyword) -> bool:
        if keyword.arg is None:
            return False
        if isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, str | bytes):
            return keyword.arg in _TEXT_ATTRIBUTES
        return self._is_part(keyword.value)

    def _is_part(self, found: ast.AST) -> bool:
        if isinstance(found, ast.List):
            return all(map(self._is_part, found.elts))
        if isinstance(found, ast.Attribute) and found.attr == "handle":
            found = found.value
        if isinstance(found, ast.Name) and found.id in self.operands:
            return True
        return _is_literal(found) or _is_dtype(found)

    def _is_answer(self, found: ast.AST) -> bool:
        if isinstance(found, ast.Subscript):
            return ast.unparse(found.value) == "outputs" and _is_literal(found.slice)
        return isinstance(found, ast.Name) and (found.id in {*self.operands, "outputs"})

    def _are_operands(self, found: ast.AST) -> bool:
        return isinstance(found, ast.List) and all(
            isinstance(e, ast.Name) and e.id in self.operands for e in found.elts
        )


def _is_text(found: ast.AST) -> bool:
    return isinstance(found, ast.Constant) and isinstance(found.value, str)


def _is_dtype(found: ast.AST) -> bool:
    return (
        isinstance(found, ast.Attribute)
        and isinstance(found.value, ast.Name)
        and found.value.id == "tf"
        and _DTYPE.fullmatch(found.attr) is not None
    )


def _is_error(found: ast.AST) -> bool:
    name = ast.unparse(found).removeprefix("tf.errors.")
    return isinstance(found, ast.Name | ast.Attribute) and name.isidentifier()


def _is_literal(found: ast.AST) -> bool:
    """Numbers, flags, None and `nan` and `inf`, in lists or tuples."""
    if isinstance(found, ast.List | ast.Tuple):
        return all(map(_is_literal, found.elts))
    if isinstance(found, ast.UnaryOp) and isinstance(found.op, ast.USub):
        return _is_literal(found.operand)
    if isinstance(found, ast.Name):
        return found.id in ("nan", "inf")
    if isinstance(found, ast.Call):
        return ast.unparse(found.func) == "complex" and _plain_arguments(found)
    return isinstance(found, ast.Constant) and not isinstance(found.value, str | bytes)


def _plain_arguments(call: ast.Call) -> bool:
    return not call.keywords and all(map(_is_literal, call.args))


def _is_value(found: ast.AST) -> bool:
    """Numbers that are written out, read from the file, or drawn anew."""
    if _is_literal(found):
        return True
    if isinstance(found, ast.Subscript):
        return ast.unparse(found.value) == "data" and _is_text(found.slice)
    if not isinstance(found, ast.Call) or not _plain_arguments(found):
        return False
    drawn = found.func
    if isinstance(drawn, ast.Attribute) and drawn.attr == "clip":
        return _is_value(drawn.value)
    if isinstance(drawn, ast.Attribute) and drawn.attr == "normal":
        rng = drawn.value
        return (
            isinstance(rng, ast.Call)
            and ast.unparse(rng.func) == "np.random.default_rng"
            and _plain_arguments(rng)
        )
    return ast.unparse(drawn) in ("np.full", "np.zeros")


_PARSED = ast.parse(_FORMS).body
_NO_ARGUMENTS = next(n for n in ast.walk(ast.parse("lambda: 0")) if isinstance(n, ast.arguments))
