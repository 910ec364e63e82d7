"""Head of a reproducer: what it shows, where it comes from, how its operands were made."""

from __future__ import annotations

import sys
import textwrap
from typing import List, Tuple

import numpy as np

from .. import arrays
from ..blaming.failing_op import FailingOp
from ..blaming.opcall import EAGER, JIT

FAILS, WORKS = "it fails as described", "it does not fail"
"""Last words of the script, with exit status 1 and 0."""
WIDTH = 96


class Story:
    """What the head of a script tells.

    Parameters
    ----------
    step, device : int, str
        Training step the failure was met in, and what it was replayed on.
    made : str
        How the operands were made.
    verdict : str
        Whose bug it is.
    """

    def __init__(self, step: int, device: str, made: str, verdict: str) -> None:
        self.step, self.device, self.made, self.verdict = step, device, made, verdict


def header(op: FailingOp, story: Story) -> List[str]:
    """Write the docstring of the script of an op."""
    import tensorflow as tf

    title = "%s %s, alone." % (op.call.op_type, _does(op))
    rows = [
        ("Found", "at training step %d of a run, by tf-forensics" % story.step),
        ("Operands", story.made),
        ("Seen with", "TensorFlow %s, NumPy %s, Python %s, %s, %s" % (
            tf.__version__, np.__version__, sys.version.split()[0], sys.platform, story.device)),
        ("Whose bug", story.verdict),
        ("Status", "1: %s, 0: %s" % (FAILS, WORKS)),
    ]  # fmt: skip
    return titled(title, rows)


def titled(title: str, rows: List[Tuple[str, str]]) -> List[str]:
    """Write a docstring of a title and rows of a word and what belongs to it."""
    lines = ['"""%s' % title, ""]
    for key, text in rows:
        text = text.replace("\\", "/").replace('"""', "'''")
        wrapped = textwrap.wrap(text, WIDTH - 12) or [""]
        lines += ["%-11s %s" % (key if i == 0 else "", t) for i, t in enumerate(wrapped[:3])]
    return [*[line.rstrip() for line in lines], '"""']


def _does(op: FailingOp) -> str:
    if op.error is not None:
        return "raises %s" % type(op.error).__name__
    how = " under XLA" if op.mode == JIT else "" if op.mode == EAGER else " in a graph"
    return "makes %s%s" % (kinds(op.bits), how)


def kinds(bits: int) -> str:
    """Name the kinds of bad values."""
    return " and ".join(
        word for bit, word in ((arrays.NAN, "NaN"), (arrays.POS | arrays.NEG, "Inf")) if bits & bit
    )
