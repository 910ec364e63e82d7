"""Fused kernels in the graph that the runtime really ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List

if TYPE_CHECKING:
    from ..stepping.failure import Failure
    from ..stepping.stepper import Stepper


def fused_kernels(stepper: Stepper, failure: Failure) -> str:
    """Types and numbers of the fused kernels of a step, as ``_FusedMatMul (2)``; empty: none."""
    counts: Dict[str, int] = {}
    for graph in _graphs_that_ran(stepper, failure):
        for node in [*graph.node, *(n for f in graph.library.function for n in f.node_def)]:
            if "Fused" in node.op and node.op.startswith("_"):
                counts[node.op] = counts.get(node.op, 0) + 1
    return ", ".join("%s (%d)" % pair for pair in sorted(counts.items()))


def _graphs_that_ran(stepper: Stepper, failure: Failure) -> List[Any]:
    """Run the step once more and collect its partitioned graphs."""
    from tensorflow.python.eager import context

    runtime = context.context()
    stepper.state.load(failure.before)
    stepper.retrace()
    runtime.enable_graph_collection()
    try:
        stepper.own(failure.batch)
        collected = runtime.export_run_metadata()
    finally:
        runtime.disable_graph_collection()
        stepper.state.load(failure.before)
    return list(collected.partition_graphs)
