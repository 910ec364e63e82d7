"""What tensors are for where no object graph says so, by their names: TF1, damaged graphs."""

from __future__ import annotations

import re
from collections.abc import Collection

from forensics.domain.run import TensorKind

_COUNTER = re.compile(
    r"(^|/)(global_step|step|save_counter|_?iterations?|iter|_?learning_rate|decay|beta\d?_power"
    r"|step_counter|dynamic_scale|_state_var)(:\d+)?(/\.ATTRIBUTES/VARIABLE_VALUE)?$"
)
_METRIC = re.compile(r"(^|/)_?(compile_|compiled_)?(metrics|loss_tracker)(/|$)")
_RANDOM = re.compile(r"(^|/)(seed_generator|random_generator|_random_generator|seed)[^/]*/")
_OPTIMIZER_LIST = re.compile(r"(^|/)_?[a-z_]*optimizer[^/]*/([^/]+/)*_variables/\d+(/|$)")


def kind_by_name(name: str, names: Collection[str]) -> TensorKind:
    """Kind of one tensor among `names` of a tensor bundle.

    TF1 names a slot after the variable that it belongs to: ``dense/kernel/Adam``. TF2 keys have
    ``.OPTIMIZER_SLOT`` in them, or, in Keras 3, the lists of the optimizer.
    """
    if _METRIC.search(name):
        return TensorKind.METRIC
    if _COUNTER.search(name) or _RANDOM.search(name):
        return TensorKind.OTHER
    if ".OPTIMIZER_SLOT" in name or _OPTIMIZER_LIST.search(name):
        return TensorKind.SLOT
    parent = name.rpartition("/")[0]
    return TensorKind.SLOT if parent and parent in names else TensorKind.WEIGHT
