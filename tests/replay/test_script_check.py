"""A reproducer is a program that a child wrote: what it may hold, and what not."""

from __future__ import annotations

import pytest

from forensics.replay.script_check import refused

HEAD = """\
\"\"\"Log makes Inf, alone.\"\"\"

import sys

import numpy as np
import tensorflow as tf

"""
TAIL = """
outputs = tf.raw_ops.Log(x=x)
value = tf.cast(outputs, tf.float64).numpy()
bad = np.isinf(value)
print("TensorFlow", tf.__version__, "NumPy", np.__version__)
print("Log:", int(bad.sum()), "of", bad.size, "are Inf:", value.ravel()[:8])
print("it fails as described" if bad.any() else "it does not fail")
sys.exit(1 if bad.any() else 0)
"""
OPERAND = "x = tf.constant([0.0, -1e-05, 2], dtype=tf.float32)"


def test_a_reproducer_is_kept() -> None:
    assert refused(HEAD + OPERAND + TAIL) is None


@pytest.mark.parametrize(
    "line",
    [
        'x = tf.Variable(tf.cast(data["x"], tf.bfloat16))',
        "x = tf.cast(np.random.default_rng(0).normal(0.1, 2.0, (3,)).clip(-1.0, 2.0), tf.half)",
        "x = tf.constant(np.zeros((0, 3)), dtype=tf.int32)",
        'nan, inf = float("nan"), float("inf")',
        "outputs = tf.function(lambda: tf.raw_ops.Softmax(logits=[1.0]), autograph=False, "
        "jit_compile=True)()",
        "outputs = tf.raw_ops.Einsum(inputs=[[1.0]], equation='i->', N=1, T=tf.float32)",
        "try:\n    tf.raw_ops.Log(x=[-1])\nexcept tf.errors.InvalidArgumentError as error:\n"
        "    said = str(error)",
    ],
)
def test_what_a_reproducer_needs_is_kept(line: str) -> None:
    assert refused(HEAD + line + "\n") is None


@pytest.mark.parametrize(
    "line",
    [
        "import os",
        "from os import system",
        "import sys as np",
        "open('f', 'w').write('')",
        "exec('1')",
        "print(eval('1'))",
        "sys.exit(print(1))",
        "sys.modules['os'].system('true')",
        "x = tf.constant(().__class__, dtype=tf.float32)",
        "x = tf.constant(open('f'), dtype=tf.float32)",
        "x = tf.constant([1.0], dtype=tf.string)",
        "x = tf.constant('text', dtype=tf.float32)",
        "x = tf.constant(np.load('f', allow_pickle=True), dtype=tf.float32)",
        "tf = tf.constant(1.0, dtype=tf.float32)",
        "print = tf.constant(1.0, dtype=tf.float32)",
        "outputs = tf.raw_ops.WriteFile(filename='f', contents='c')",
        "outputs = tf.raw_ops.PrintV2(input=[1], output_stream='file://f')",
        "outputs = tf.raw_ops.Log(x=outputs)",
        "outputs = tf.raw_ops.Log(x=tf.raw_ops.ReadFile(filename=[1]))",
        "outputs = tf.raw_ops.Log(**data)",
        "outputs = tf.io.gfile.remove('f')",
        "outputs = tf.function(lambda: print(1), autograph=False)()",
        "outputs = tf.function(lambda x=exit(): tf.raw_ops.Log(x=1), autograph=False)()",
        "with np.load('other.npz') as file:\n    data = dict(file)",
        "with np.load(Path(__file__).with_name('reproducer.npz'), allow_pickle=True) as file:\n"
        "    data = dict(file)",
        "try:\n    tf.raw_ops.Log(x=[-1])\nexcept exit() as error:\n    said = str(error)",
        "for name, part in data.items():\n    exit()",
        "def f(): pass",
        "fails = x in said.replace('\"', \"'\")",
        "class C(exit()): pass",
        "f'{exit()}'",
    ],
)
def test_anything_else_is_refused(line: str) -> None:
    where = refused(HEAD + OPERAND + "\n" + line + TAIL)
    assert where == "line 9 is nothing that a reproducer needs"


def test_what_python_would_read_otherwise_is_refused() -> None:
    assert refused("# coding: utf-7\n" + HEAD + OPERAND) == "it names an encoding of its own"
    assert "cannot be read" in str(refused(HEAD + "x = ("))
    assert "cannot be read" in str(refused(HEAD + "\0"))
    assert "cannot be read" in str(refused("x = tf.constant(" + "[" * 9000 + "]" * 9000 + ")"))
