"""One change of a program, and how to put methods and attributes back after it."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterator, List, Optional

from ..stepping.state import Snapshot


class Unfit(Exception):
    """A change cannot be made to this program; the message says why."""


class Change:
    """A remedy that can be run: what it changes while steps are run, and no longer.

    Attributes
    ----------
    remedy : str
        Its slug.
    family : str
        Remedies of one family work the same way: two that help are one proof.
    what : str
        What is changed, in words.
    retraces : bool
        Compiled steps have to be traced again to see the change.
    comparable : bool
        The loss is still the same function of the same data, so that its level can be compared.
    from_built : bool
        It has to be there from the beginning: start from the state that the case builds.
    slows : bool
        It makes every update smaller: a loss that stood still before proves nothing.
    unique : bool
        Whether steps that go well are proof enough although the change was not seen at work.
    """

    remedy = ""
    family = ""
    what = ""
    retraces = True
    comparable = True
    from_built = False
    slows = False
    dropped = 0
    """Rows left out so far."""
    seen = 0
    """Rows that came by."""

    @contextlib.contextmanager
    def active(self) -> Iterator[List[bool]]:
        """Change the program within the block; yields a list that fills when the change is used."""
        yield [True]

    def values(self, snapshot: Snapshot) -> Snapshot:
        """Return the state to start from."""
        return snapshot

    def batch(self, step: int, batch: Any) -> Any:
        """Return the batch that is trained on in place of `batch`."""
        return batch

    def begin(self, index: int) -> None:
        """Get ready for the step number `index` of the run (0 is the first)."""

    def rescue(self, step: int, before: Snapshot, batch: Any) -> Optional[Any]:
        """Return another batch for a step that failed with this one; None: there is none."""
        return None

    @property
    def rescues(self) -> bool:
        """Whether `rescue` can help, so that the state before each step has to be kept."""
        return type(self).rescue is not Change.rescue


@contextlib.contextmanager
def replaced(thing: Any, **values: Any) -> Iterator[None]:
    """Set attributes within the block; those the object did not have itself are taken off again."""
    own = vars(thing) if hasattr(thing, "__dict__") else {}
    before = {name: (name in own, getattr(thing, name, None)) for name in values}
    try:
        for name, value in values.items():
            setattr(thing, name, value)
        yield
    finally:
        for name, (was_own, value) in before.items():
            if was_own:
                setattr(thing, name, value)
            else:
                with contextlib.suppress(AttributeError):
                    delattr(thing, name)
                if getattr(thing, name, None) is not value:
                    setattr(thing, name, value)


@contextlib.contextmanager
def wrapped(owners: List[Any], name: str, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Wrap a method of classes (or a function of modules) within the block."""
    originals = [(owner, vars(owner)[name]) for owner in owners]
    try:
        for owner, method in originals:
            setattr(owner, name, wrap(method))
        yield
    finally:
        for owner, method in originals:
            setattr(owner, name, method)


def owners_of(things: List[Any], name: str) -> List[Any]:
    """Classes in which the method `name` of these objects is defined."""
    found = {next((k for k in type(t).__mro__ if name in vars(k)), None) for t in things}
    return [owner for owner in found if owner is not None]
