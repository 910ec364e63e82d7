"""What a trace keeps of a step: births of bad values, where they went, what is usual."""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Optional, Set, Tuple

from . import frames

NONE: FrozenSet[int] = frozenset()
CONSTANT = "Const"
"""Op type of a value that came from outside the step: a literal, an array, an older tensor."""
_READS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd")


class OpRecord:
    """Where a bad value is born: an op whose output is bad although its inputs are not."""

    __slots__ = (
        "bits", "dtype", "forward_index", "forward_op", "habit_inputs", "index", "inputs",
        "iteration", "layer", "name", "op_type", "outputs", "phase", "rows", "shape", "slot",
        "source", "variable",
    )  # fmt: skip

    def __init__(self, index: int, op_type: str, name: str) -> None:
        self.index, self.op_type, self.name = index, op_type, name
        self.layer: Optional[str] = None
        self.phase = frames.FORWARD
        self.source: Optional[Dict[str, Any]] = None
        self.iteration: Optional[str] = None
        self.forward_op: Optional[str] = None
        self.forward_index: Optional[int] = None
        self.variable: Optional[str] = None
        self.inputs: List[Dict[str, Any]] = []
        self.outputs: List[Dict[str, Any]] = []
        self.slot, self.bits, self.dtype = 0, 0, ""
        self.shape: Tuple[int, ...] = ()
        self.rows: List[int] = []
        self.habit_inputs = False

    @property
    def is_read(self) -> bool:
        """Whether it only read a variable that was bad already."""
        return self.op_type in _READS

    @property
    def site(self) -> Tuple[Any, ...]:
        """Names the place in the program: every turn of a loop has the same."""
        line = (self.source or {}).get("file"), (self.source or {}).get("line")
        return (self.forward_op or self.op_type, self.layer, *line)

    def origin(self) -> Dict[str, Any]:
        """Fields of the report's origin."""
        phase = "state" if self.is_read else self.phase
        name = "%s (%s)" % (self.name, self.iteration) if self.iteration else self.name
        return {
            "op_type": self.op_type, "op_name": name, "output_slot": self.slot,
            "dtype": self.dtype, "shape": list(self.shape), "layer": self.layer, "phase": phase,
            "input": None, "raised": None, "source": self.source,
            "forward_op_type": self.forward_op, "inputs": self.inputs, "outputs": self.outputs,
        }  # fmt: skip


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


class Harm:
    """A bad value that reached something training keeps."""

    __slots__ = ("chain_end", "sources", "target")

    def __init__(self, target: str, sources: FrozenSet[int], chain_end: int) -> None:
        self.target, self.sources, self.chain_end = target, sources, chain_end


class Habits:
    """What is bad in a healthy step too: outputs by op key, and what such values reach."""

    def __init__(self) -> None:
        self.bits: Dict[Any, int] = {}
        self.targets: Set[str] = set()


class Made:
    """A bad output and the op that made it."""

    __slots__ = (
        "array", "bits", "index", "inputs", "op_type", "outputs", "path", "place", "slot",
    )  # fmt: skip

    def __init__(self, index: int, op_type: str, path: str, place: frames.Place, inputs: Any,
                 outputs: Any, slot: int, array: Any, bits: int) -> None:  # fmt: skip
        self.index, self.op_type, self.path, self.place = index, op_type, path, place
        self.inputs, self.outputs, self.slot = inputs, outputs, slot
        self.array, self.bits = array, bits

    @property
    def name(self) -> str:
        """Layers and type of the op with its number in the step."""
        stem = "%s_%d" % (self.op_type, self.index)
        return "%s/%s" % (self.path, stem) if self.path else stem
