"""Other ways of executing the same step: without XLA, without fused kernels, op by op."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Iterator, List, Optional, Tuple

from .stepper import Stepper, tf_functions

JIT, GRAPH, EAGER = "jit", "graph", "eager"
UNFUSED = "graph without fused kernels"
_COMPILE = "_XlaMustCompile"
_DETECT_NAN = "--xla_gpu_detect_nan=warning"


def configured(stepper: Stepper) -> str:
    """Tell what mode a step is configured for, where its calls cannot be watched."""
    model = stepper.case.model
    if stepper.case.step is not None:
        functions = tf_functions(user_only=True)
        if any(getattr(f, "_jit_compile", None) for f in functions):
            return JIT
        return GRAPH if functions else EAGER
    if getattr(model, "run_eagerly", False):
        return EAGER
    return JIT if getattr(model, "jit_compile", False) is True else GRAPH


def uses_xla(stepper: Stepper) -> bool:
    """Whether XLA compiles the step, or a function of the program that it may call."""
    if configured(stepper) == JIT:
        return True
    return any(getattr(f, "_jit_compile", None) for f in tf_functions(user_only=True))


@contextlib.contextmanager
def without_jit(stepper: Stepper) -> Iterator[None]:
    """Compile nothing with XLA within the block: models, optimizers and every `tf.function`.

    Traces that exist keep the way they were made: they are dropped before and after.
    """
    switched: List[Tuple[Any, str, Any]] = []
    for thing in [*tf_functions(), *_compiling(stepper)]:
        for name in ("_jit_compile", "jit_compile"):
            value = getattr(thing, name, None)
            if value:
                with contextlib.suppress(Exception):
                    setattr(thing, name, False)
                    switched.append((thing, name, value))
    options = [o for f in tf_functions() for o in _tracing_options(f)]
    kept = [(o.attributes, dict(o.attributes)) for o in options if o.attributes.get(_COMPILE)]
    for attributes, _ in kept:
        attributes[_COMPILE] = False
    stepper.retrace()
    try:
        yield
    finally:
        for thing, name, value in switched:
            setattr(thing, name, value)
        for attributes, before in kept:
            attributes.update(before)
        stepper.retrace()


def detect_nan_on_gpu(stepper: Stepper, device: str) -> Optional[str]:
    """Ask XLA to warn of NaN where it can, before it first compiles; return what is to be said.

    TensorFlow 2.21 knows the flag; an unknown one would end the process.
    """
    import tensorflow as tf

    version = tuple(int(n) for n in tf.__version__.split(".")[:2])
    flags = os.environ.get("XLA_FLAGS", "")
    if not device.startswith("GPU") or version < (2, 21) or "xla_gpu_detect_nan" in flags:
        return None
    if configured(stepper) != JIT:
        return None
    os.environ["XLA_FLAGS"] = (flags + " " + _DETECT_NAN).strip()
    return (
        "XLA_FLAGS=%s is set: whether XLA then says where a NaN is made has not been verified"
        % _DETECT_NAN
    )


def _tracing_options(function: Any) -> List[Any]:
    """How a `tf.function` that was called once is traced from then on."""
    names = ("_variable_creation_config", "_no_variable_creation_config")
    options = [getattr(function, name, None) for name in names]
    return [o for o in options if getattr(o, "attributes", None)]


def _compiling(stepper: Stepper) -> List[Any]:
    """Models and optimizers of the case: Keras 2 lets both decide about XLA."""
    case = stepper.case
    found = [case.model, *case.restore.values(), *stepper.state.optimizers]
    found += [getattr(thing, "optimizer", None) for thing in found]
    # by identity: variables answer `==` element by element
    return list({id(thing): thing for thing in found if thing is not None}.values())


@contextlib.contextmanager
def without_fusion(stepper: Stepper) -> Iterator[None]:
    """Run graphs as they were written within the block: Grappler rewrites and fuses nothing."""
    import tensorflow as tf

    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    stepper.retrace()
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options(
            {"disable_meta_optimizer": bool(before.get("disable_meta_optimizer", False))}
        )
        stepper.retrace()
