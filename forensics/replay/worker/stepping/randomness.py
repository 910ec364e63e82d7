"""Ops whose result cannot be had a second time: restoring all variables does not bring it back."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List

STATEFUL_RANDOM = frozenset((
    "RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal",
    "ParameterizedTruncatedNormal", "Multinomial", "RandomShuffle", "RandomGamma", "RandomPoisson",
    "RandomPoissonV2", "RandomDataset", "RandomDatasetV2", "RecordInput", "RandomShuffleQueueV2",
    "LogUniformCandidateSampler", "UniformCandidateSampler", "LearnedUnigramCandidateSampler",
    "AllCandidateSampler", "FixedUnigramCandidateSampler", "ThreadUnsafeUnigramCandidateSampler",
    "SampleDistortedBoundingBox", "SampleDistortedBoundingBoxV2", "FractionalMaxPool",
    "FractionalAvgPool",
))  # fmt: skip
"""Random ops that count their draws in their kernel, out of reach of a snapshot.

Those of `tf.random.Generator` and of Keras (stateless, or with a state in a variable) are replayed.
"""
PYTHON = frozenset(("PyFunc", "PyFuncStateless", "EagerPyFunc"))
OUTER_STATE = frozenset((
    "Timestamp", "IteratorGetNext", "IteratorGetNextSync",
    "LookupTableInsertV2", "LookupTableRemoveV2", "QueueDequeueV2", "QueueDequeueManyV2",
    "StagePeek", "Unstage", "MapUnstage", "XlaRngUniform", "RngBitGenerator",
))  # fmt: skip


_ITERATORS = frozenset(("IteratorGetNext", "IteratorGetNextSync"))


def unreplayable(op_types: Iterable[str]) -> List[str]:
    """Those of the ops that restoring all variables does not make repeat, sorted.

    The code of a Python op is run again, but what it keeps in Python objects is not restored.
    """
    return sorted(set(op_types) & (STATEFUL_RANDOM | PYTHON | OUTER_STATE))


def of_graphs(graphs: Iterable[Any], fed: bool = False) -> List[str]:
    """Unreplayable ops of graph definitions and of every function in their libraries.

    `fed`: the step is handed its batch in an iterator (as Keras 2 does), which is no state of it.
    """
    found = {op for graph in graphs for op in op_counts(graph)}
    return unreplayable(found - _ITERATORS if fed else found)


def op_counts(graph: Any) -> Dict[str, int]:
    """Ops of a graph definition by type, nested functions included."""
    counts: Dict[str, int] = {}
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    for body in bodies:
        for node in body:
            # such a pooling is random unless it is told not to be
            if node.op.startswith("Fractional") and node.attr["deterministic"].b:
                continue
            counts[node.op] = counts.get(node.op, 0) + 1
    return counts
