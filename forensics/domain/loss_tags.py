"""Which of several logged losses is the one that training minimises, told by its tag."""

from __future__ import annotations

import re
from enum import IntEnum

_TOTAL = frozenset({"total", "sum", "overall", "combined", "full", "objective"})
_PLAIN = frozenset(
    {
        "loss", "losses", "train", "training", "batch", "epoch", "step", "iteration", "iterations",
        "per", "running", "mean", "avg", "average", "smoothed", "raw", "model", "cost", "by",
    }
)  # fmt: skip
_NORM = frozenset({"l1", "l2"})
_PART = frozenset(
    {
        "kl", "kld", "reg", "regularization", "regularisation", "regularizer", "penalty", "decay",
        "entropy", "aux", "auxiliary", "commitment", "commit", "policy", "pi", "actor", "value",
        "vf", "critic", "adv", "adversarial", "g", "gen", "generator", "d", "disc",
        "discriminator", "dis",
    }
)  # fmt: skip


class LossRole(IntEnum):
    """What a loss stands for, the most telling first."""

    TOTAL = 0
    """All of it: the tag says so, or says nothing but that it is a loss."""
    OWN = 1
    """A kind of loss (``mse_loss``, ``recon``): all of it if no other was logged."""
    NORM = 2
    """``l1`` or ``l2``: a penalty on the weights, or the error of a regression."""
    PART = 3
    """A penalty or one side of a game, which may rise while training goes well."""


def loss_role(tag: str) -> LossRole:
    """Tell the role of a loss from the last part of its tag.

    Parameters
    ----------
    tag : str
        As written; parts are separated by slashes, words by anything else or by a capital letter.

    Returns
    -------
    LossRole
        `TOTAL` too where the last part has no word of its own (``loss_1``).
    """
    found = [w for w in _words(tag) if not w.isdigit()]
    if _TOTAL & set(found):
        return LossRole.TOTAL
    own = [w for k, w in enumerate(found) if not (w == "entropy" and k and found[k - 1] == "cross")]
    if _PART & set(own):
        return LossRole.PART
    if _NORM & set(own):
        return LossRole.NORM
    return LossRole.TOTAL if set(own) <= _PLAIN else LossRole.OWN


def _words(tag: str) -> list[str]:
    last = tag.replace("\\", "/").rstrip("/").split("/")[-1]
    return re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", last).lower())
