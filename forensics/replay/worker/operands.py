"""An op of a step with its operands."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional


class Operands:
    """One op of a step with all that went in and came out: to run it again elsewhere.

    Parameters
    ----------
    op_type : str
        As registered in TensorFlow.
    attrs : dict
        Attributes by name, as `tf.raw_ops` takes them after conversion.
    inputs, outputs : list of array or None
        Copies; None for what is no array (resources, variants).
    handles : list of int or None
        Number of each input's tensor: a resource's tells its variable (`Variable.key`).
    """

    __slots__ = ("attrs", "handles", "inputs", "op_type", "outputs")

    def __init__(
        self, op_type: str, attrs: Dict[str, Any], inputs: List[Any], outputs: List[Any],
        handles: List[Optional[int]],
    ) -> None:  # fmt: skip
        self.op_type, self.attrs, self.inputs, self.outputs = op_type, attrs, inputs, outputs
        self.handles = handles

    @classmethod
    def seen(
        cls, op_type: str, inputs: Any, attrs: Any, outputs: Any, value_of: Callable[[Any], Any]
    ) -> Operands:
        """Copy what a callback of the runtime is shown of an op."""

        def copied(tensors: Any) -> List[Any]:
            return [None if a is None else a.copy() for a in map(value_of, tensors or ())]

        flat = tuple(attrs or ())
        named = {str(k): v for k, v in zip(flat[::2], flat[1::2])}
        handles = [getattr(t, "_id", None) for t in inputs or ()]
        return cls(op_type, named, copied(inputs), copied(outputs), handles)
