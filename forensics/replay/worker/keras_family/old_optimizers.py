"""A hand on the learning rate and the gradients of Keras 2 optimizers, old and new generation."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterator, List

from . import keras_api

_RATE, _HYPER, _DECAYED, _APPLY = "learning_rate", "_get_hyper", "_decayed_lr", "apply_gradients"


def known(optimizers: List[Any]) -> List[Any]:
    """Those that can be controlled: of Keras 2, and no wrapper for loss scaling."""
    return [
        o for o in optimizers
        if keras_api.of_old_keras(o) and not hasattr(o, "inner_optimizer") and hasattr(o, _APPLY)
        and (hasattr(o, _HYPER) or isinstance(_of_class(o, _RATE), property))
    ]  # fmt: skip


@contextlib.contextmanager
def controlled(
    optimizers: List[Any], rate: Callable[[Any], Any], gradients: Callable[[List[Any]], List[Any]]
) -> Iterator[None]:
    """Pass every learning rate through `rate` and every step's gradients through `gradients`.

    The classes are changed within the block, so that steps that are traced there hold the change.
    """
    with contextlib.ExitStack() as stack:
        for owner in _owners(optimizers, _APPLY):
            stack.enter_context(
                _exchanged(owner, _APPLY, _applying(vars(owner)[_APPLY], gradients))
            )
        legacy = [o for o in optimizers if hasattr(o, _HYPER)]
        inside = [False]
        for owner in _owners(legacy, _HYPER):
            hyper = _hyper(vars(owner)[_HYPER], rate, inside)
            stack.enter_context(_exchanged(owner, _HYPER, hyper))
        for owner in _owners(legacy, _DECAYED):
            decayed = _decayed(vars(owner)[_DECAYED], rate, inside)
            stack.enter_context(_exchanged(owner, _DECAYED, decayed))
        for owner in _owners([o for o in optimizers if not hasattr(o, _HYPER)], _RATE):
            stack.enter_context(_exchanged(owner, _RATE, _property(vars(owner)[_RATE], rate)))
        yield


def _applying(method: Any, change: Callable[[List[Any]], List[Any]]) -> Any:
    inside = [False]

    def apply_gradients(self: Any, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
        pairs = list(grads_and_vars)
        # an override calls the method that it overrides: change once
        outer, inside[0] = inside[0], True
        try:
            if not outer and pairs:
                grads, variables = zip(*pairs)
                pairs = list(zip(change(list(grads)), variables))
            return method(self, pairs, *args, **kwargs)
        finally:
            inside[0] = outer

    return apply_gradients


def _hyper(method: Any, change: Callable[[Any], Any], inside: List[bool]) -> Any:
    def get_hyper(self: Any, name: str, dtype: Any = None) -> Any:
        value = method(self, name, dtype)
        return value if name != _RATE or inside[0] or callable(value) else change(value)

    return get_hyper


def _decayed(method: Any, change: Callable[[Any], Any], inside: List[bool]) -> Any:
    """Wrap the method that evaluates a schedule of what `_get_hyper` returns."""

    def decayed_lr(self: Any, dtype: Any) -> Any:
        inside[0] = True
        try:
            return change(method(self, dtype))
        finally:
            inside[0] = False

    return decayed_lr


def _property(original: Any, change: Callable[[Any], Any]) -> Any:
    return property(lambda self: change(original.fget(self)), original.fset, original.fdel)


def _of_class(thing: Any, name: str) -> Any:
    return next((vars(k)[name] for k in type(thing).__mro__ if name in vars(k)), None)


def _owners(things: List[Any], name: str) -> List[Any]:
    found = {next((k for k in type(t).__mro__ if name in vars(k)), None) for t in things}
    return [owner for owner in found if owner is not None]


@contextlib.contextmanager
def _exchanged(owner: Any, name: str, value: Any) -> Iterator[None]:
    original = vars(owner)[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, original)
