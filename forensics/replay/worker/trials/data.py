"""Data brought to unit scale."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Sequence

import numpy as np

from .. import arrays
from ..localising.localise import batch_rows
from .change import Change, Unfit

LARGE = 20.0
"""Magnitudes up to this need no scaling: 3 standard deviations of unit data are well inside."""
SPREAD = 100.0
"""Columns whose deviations differ by more than this need a scale each."""
_TARGETS = ("y", "label", "labels", "target", "targets", "sample_weight", "sw", "w", "weight")

Scaling = Callable[[Any], Any]


class Normalise(Change):
    """Inputs (or targets) brought to unit scale, from the beginning.

    Parameters
    ----------
    usual : sequence of batch
        Batches that the scales are taken from.
    targets : bool
        Scale the targets of a regression in place of the inputs.
    """

    family = "data scale"
    retraces = False
    from_built = True

    def __init__(self, usual: Sequence[Any], targets: bool = False) -> None:
        self.remedy = "normalise_targets" if targets else "normalise_inputs"
        self.comparable = not targets
        self.scalings: Dict[str, Scaling] = {}
        said: List[str] = []
        for name in dict.fromkeys(n for b in usual for n, _ in arrays.leaves(b)):
            if _is_target(name) is not targets:
                continue
            found = [a for b in usual for n, a in arrays.leaves(b) if n == name]
            scaling, words = _scaling(found, batch_rows(usual[0]))
            if scaling is not None:
                self.scalings[name] = scaling
                said.append("%s %s" % (name, words))
        if not said:
            raise Unfit("the data is of unit scale")
        self.what = "; ".join(said)

    def batch(self, step: int, batch: Any) -> Any:
        """Scale the parts that need it."""
        names = iter([name for name, _ in arrays.named_parts(batch)])

        def change(part: Any) -> Any:
            scaling = self.scalings.get(next(names))
            return part if scaling is None else scaling(np.asarray(part))

        return arrays.mapped(batch, change)


def _is_target(name: str) -> bool:
    return name.split("/")[0].lower() in _TARGETS


def _scaling(found: List[Any], rows: Any) -> Any:
    """How to scale a part, None when it is of unit scale (or no float)."""
    first = found[0]
    if first.ndim == 0 or not arrays.is_float(first) or first.shape[0] != rows:
        return None, ""
    usual = [arrays.max_abs(a) for a in found]
    if float(np.median(usual)) <= LARGE and not _spread(found):
        return None, ""
    if first.ndim == 2 and first.shape[1] > 1 and _spread(found):
        table = np.concatenate([arrays.widen(a).astype(np.float64) for a in found])
        table = np.where(np.isfinite(table), table, np.nan)
        mean, std = np.nanmedian(table, axis=0), np.nanstd(table, axis=0)
        low = np.nanpercentile(table, 16, axis=0)
        high = np.nanpercentile(table, 84, axis=0)
        std = np.where(high > low, (high - low) / 2, std)
        return _standardised(mean, std), "standardised column by column"
    top = float(np.median(usual))
    return _divided_by(top), "divided by %.4g, its usual largest magnitude" % top


def _spread(found: List[Any]) -> bool:
    if found[0].ndim != 2 or found[0].shape[1] < 2:
        return False
    with np.errstate(all="ignore"):
        table = np.concatenate([arrays.widen(a).astype(np.float64) for a in found])
        deviations = np.nanstd(np.where(np.isfinite(table), table, np.nan), axis=0)
    known = deviations[np.isfinite(deviations) & (deviations > 0)]
    return bool(known.size > 1 and known.max() > SPREAD * known.min() and known.max() > 1)


def _standardised(mean: Any, std: Any) -> Scaling:
    def scale(array: Any) -> Any:
        with np.errstate(all="ignore"):
            return ((array - mean) / (std + 1e-6)).astype(array.dtype)

    return scale


def _divided_by(top: float) -> Scaling:
    def scale(array: Any) -> Any:
        return (array / top).astype(array.dtype)

    return scale
