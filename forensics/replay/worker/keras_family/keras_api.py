"""What differs between the Keras families: Keras 3, Keras 2 (up to TensorFlow 2.15) and `tf_keras`.

Several may be loaded in one process (TensorFlow 2.16 with TF_USE_LEGACY_KERAS has `keras` 3 beside
`tf_keras` 2): types are collected from all of them, and what is done with an object goes by the
object's own family.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from typing import Any, Dict, Iterator, List, Tuple

_NAMES = ("keras", "tf_keras")


def packages() -> List[Any]:
    """Keras packages that the program has loaded; `keras` where it has loaded none."""
    loaded = [sys.modules[name] for name in _NAMES if hasattr(sys.modules.get(name), "__version__")]
    if loaded:
        return loaded
    legacy = os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true")
    for name in reversed(_NAMES) if legacy else _NAMES:
        try:
            return [importlib.import_module(name)]
        except ImportError:
            continue
    return []


def describe(things: Any = ()) -> str:
    """Version of the Keras that the objects of a case are made of, e.g. ``tf_keras 2.16.0``."""
    roots = {type(thing).__module__.split(".")[0] for thing in things}
    roots |= {k.__module__.split(".")[0] for thing in things for k in type(thing).__mro__}
    found = [p for p in packages() if p.__name__.split(".")[0] in roots] or packages()[:1]
    names = []
    for package in found:
        name = package.__name__.split(".")[0]
        names.append(package.__version__ if name == "keras" else name + " " + package.__version__)
    return ", ".join(names) or "none"


def is_old(package: Any) -> bool:
    """Whether a package is of the second generation."""
    return str(getattr(package, "__version__", "3")).split(".")[0] in ("1", "2")


def old_is_loaded() -> bool:
    """Whether any object of this process can be of Keras 2."""
    return any(is_old(package) for package in packages())


def of_old_keras(thing: Any) -> bool:
    """Whether an object is of Keras 2, by the packages of its classes."""
    old = {p.__name__.split(".")[0] for p in packages() if is_old(p)}
    return any(kind.__module__.split(".")[0] in old for kind in type(thing).__mro__)


def types(*paths: str) -> Tuple[type, ...]:
    """Classes by their path below a Keras package, from every package that has them."""
    found = []
    for package in packages():
        for path in paths:
            value = package
            for part in path.split("."):
                value = getattr(value, part, None)
            if isinstance(value, type) and value not in found:
                found.append(value)
    return tuple(found)


def layer_types() -> Tuple[type, ...]:
    """Return the base classes of layers."""
    return types("layers.Layer")


def metric_types() -> Tuple[type, ...]:
    """Return the base classes of metrics."""
    return types("metrics.Metric")


def optimizer_types() -> Tuple[type, ...]:
    """Return the base classes of optimizers; Keras 2 has two generations of them."""
    return types("optimizers.Optimizer", "optimizers.legacy.Optimizer")


def variable_types() -> Tuple[type, ...]:
    """Classes of Keras's own variables; Keras 2 has none, it uses TensorFlow's."""
    return types("Variable")


def loss_types() -> Tuple[type, ...]:
    """Return the base classes of losses."""
    return types("losses.Loss")


def package_of(thing: Any) -> Any:
    """Return the Keras package that an object is of; of something else the first that is loaded."""
    roots = {kind.__module__.split(".")[0] for kind in type(thing).__mro__}
    loaded = packages()
    return next((p for p in loaded if p.__name__.split(".")[0] in roots), loaded[0])


def floatx() -> str:
    """Name of the default float type."""
    for package in packages():
        return str(package.backend.floatx())
    return "float32"


def set_defaults(settings: Dict[str, str]) -> None:
    """Set what models take from their process.

    Parameters
    ----------
    settings : dict of str to str
        ``dtype_policy``, ``floatx`` and ``image_data_format``; others are left alone.

    Raises
    ------
    ValueError
        When Keras does not know one of them.
    """
    for package in packages():
        if "floatx" in settings:
            package.backend.set_floatx(settings["floatx"])
        if "image_data_format" in settings:
            package.backend.set_image_data_format(settings["image_data_format"])
        if "dtype_policy" in settings:
            kind = package.mixed_precision
            change = getattr(kind, "set_global_policy", None) or kind.set_dtype_policy
            change(settings["dtype_policy"])


@contextlib.contextmanager
def float32_by_default() -> Iterator[None]:
    """Let the default float type of every Keras be float32 within the block."""
    before = [(package.backend, package.backend.floatx()) for package in packages()]
    try:
        for backend, _ in before:
            backend.set_floatx("float32")
        yield
    finally:
        for backend, name in before:
            backend.set_floatx(name)


def float32_attributes(thing: Any) -> Dict[str, Any]:
    """Attributes to set on a layer or a loss so that it computes in float32; empty: it has none."""
    package = package_of(thing)
    if is_old(package):
        if not hasattr(thing, "_compute_dtype_object"):
            return {}
        import tensorflow as tf

        policy = package.mixed_precision.Policy("float32")
        return {"_dtype_policy": policy, "_compute_dtype_object": tf.float32}
    policy = package.dtype_policies.DTypePolicy("float32")
    names = [name for name in ("_dtype_policy", "dtype_policy") if hasattr(thing, name)]
    return dict.fromkeys(names[:1], policy)


# -- what is done with a model or an optimizer
def call_train_function(model: Any, data: Any) -> Any:
    """Run one step of a compiled model as `fit` does, on a batch of tensors.

    The function of Keras 2 is traced with its iterator as an argument: only one of `tf.data` does.
    """
    if not of_old_keras(model):
        model.make_train_function()
        model.reset_metrics()
        return model.train_function(iter([data]))
    import tensorflow as tf

    if getattr(model, "_steps_per_execution", None) is not None:
        # it would pull several batches: None is what a model that was told nothing has
        model._steps_per_execution = None
        model.make_train_function(force=True)
    model.make_train_function()
    model.reset_metrics()
    return model.train_function(iter(tf.data.Dataset.from_tensors(data)))


def optimizer_variables(optimizer: Any) -> List[Any]:
    """Variables of an optimizer, whether `variables` is a property or a method.

    Keras 2 keeps rates and other settings in variables that it does not count among them.
    """
    variables = getattr(optimizer, "variables", [])
    found = list(variables() if callable(variables) else variables)
    if not of_old_keras(optimizer):
        return found
    known = {id(variable) for variable in found}
    settings = [
        *vars(optimizer).values(),
        *(getattr(optimizer, "_hyper", None) or {}).values(),
        *vars(getattr(optimizer, "_loss_scale", None) or _Nothing()).values(),
    ]
    return found + [s for s in settings if hasattr(s, "handle") and id(s) not in known]


class _Nothing:
    """Has no attributes."""


def build_optimizer(optimizer: Any, variables: Any) -> None:
    """Create the slots of an optimizer, which is needed before a file is loaded into them."""
    if hasattr(optimizer, "built") and not of_old_keras(optimizer):
        if not optimizer.built:
            optimizer.build(variables)
        return
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if hasattr(optimizer, "build"):
        # of this generation a second call only fails where other variables are given
        if not getattr(inner, "_built", False):
            optimizer.build(variables)
    elif hasattr(inner, "_create_all_weights"):
        inner._create_all_weights(variables)


def gradient_method(optimizer: Any) -> str:
    """Name of the method that takes the gradients: of every optimizer of its family."""
    return "apply_gradients" if of_old_keras(optimizer) else "apply"
