"""The words of a tag, and which words mean what."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

_WORD = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+")

LOSS = frozenset(
    {"loss", "losses", "cost", "objective", "nll", "xent", "crossentropy", "bce", "nelbo"}
)
SCALE = frozenset({"scale", "scaling", "scaler"})
GRADIENT = frozenset(
    {"grad", "grads", "gradient", "gradients", "gnorm", "gradnorm", "gradientnorm"}
)
WEIGHT = frozenset(
    {"weight", "weights", "param", "params", "parameter", "parameters", "variable", "variables"}
    | {"kernel", "kernels"}
)
NORM = frozenset({"norm", "norms", "gnorm", "gradnorm", "gradientnorm", "magnitude"})
UPDATE = frozenset({"update", "updates"})
RATIO = frozenset({"ratio", "ratios"})
ACTIVATION = frozenset({"activation", "activations", "act", "acts", "preactivation"})
MEAN = frozenset({"mean", "avg", "average"})
SPREAD = frozenset({"std", "stddev", "sd"})
ZERO = frozenset({"zero", "zeros", "dead", "sparsity"})

TRAIN = frozenset({"train", "training"})
VALIDATION = frozenset(
    {"val", "valid", "validation", "eval", "evaluation", "test", "testing", "dev", "holdout"}
)
CONTEXT = (
    TRAIN
    | VALIDATION
    | frozenset({"batch", "epoch", "step", "steps", "iter", "iteration", "iterations", "vs"})
    | frozenset({"global", "total", "overall", "all", "sum", "mean", "avg", "average", "value"})
    | frozenset({"current", "raw", "running", "smooth", "smoothed", "ema", "per"})
    | frozenset({"metric", "metrics", "scalar", "scalars", "summary", "stat", "stats", "debug"})
    | frozenset({"optimizer", "optim", "opt", "model", "monitor", "monitoring", "log", "logs"})
)
"""Words that say where or how something was measured, not what."""

SIZE_OF_SOMETHING_ELSE = frozenset(
    SCALE
    | RATIO
    | SPREAD
    | {"weight", "weights", "coef", "coeff", "coefficient", "lambda", "factor", "multiplier"}
    | {"var", "variance", "min", "max", "median", "best", "delta", "improvement", "norm"}
    | {"time", "second", "seconds", "sec", "ms", "count", "steps", "patience", "threshold"}
    | {"accuracy", "acc", "fraction", "percent", "decay", "noise", "clip", "clipping", "clipped"}
)
"""Last words that make another thing of what stands before them: the scale of a loss is no loss."""
STATISTIC = frozenset(
    SPREAD
    | RATIO
    | {"mean", "var", "variance", "min", "max", "median", "avg", "average", "clip", "clipped"}
    | {"clipping", "noise", "cosine", "similarity", "accum", "nan", "nans", "inf", "finite"}
    | {"zero", "zeros", "fraction", "sparsity", "count", "threshold", "skipped", "penalty", "limit"}
)
"""Words that make something other than the norm itself of a gradient or weight."""
METRIC = frozenset(
    {"accuracy", "acc", "precision", "recall", "auc", "f1", "score", "perplexity", "ppl", "mse"}
    | {"mae", "rmse", "mape", "msle", "error", "err", "bleu", "rouge", "iou", "miou", "dice", "map"}
    | {"psnr", "ssim", "fid", "wer", "cer", "r2", "reward", "return", "kl", "divergence", "top"}
    | {"metric", "metrics", "hinge", "similarity", "likelihood", "elbo", "entropy", "iou"}
)
RESIDUAL = frozenset({"mse", "mae", "rmse"})
"""Metrics that are also the loss of a run that logged no other."""


@lru_cache(maxsize=4096)
def words(tag: str) -> tuple[str, ...]:
    """Words of a tag in lower case; separators, camelCase and trailing digits divide or end one.

    Examples
    --------
    >>> words("train/gradNorm_conv2")
    ('train', 'grad', 'norm', 'conv')
    """
    found = []
    for match in _WORD.finditer(tag):
        word = match.group().lower()
        found.append(word if word in METRIC or word.isdigit() else word.rstrip("0123456789"))
    return tuple(found)


def spans(text: str) -> list[tuple[str, int, int]]:
    """Words of a text with their positions."""
    return [
        (word, match.start(), match.end())
        for word, match in zip(words(text), _WORD.finditer(text), strict=True)
    ]


def has_pair(found: tuple[str, ...], first: str, second: frozenset[str]) -> bool:
    """Whether `first` is directly followed by one of `second`."""
    return any(a == first and b in second for a, b in pairwise(found))


def head(found: tuple[str, ...]) -> str:
    """Return the word that says what is measured: the last but numbers, letters and context."""
    for word in reversed(found):
        if len(word) > 1 and not word.isdigit() and word not in CONTEXT:
            return word
    return ""
