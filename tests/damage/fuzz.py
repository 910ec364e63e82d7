"""Very many mutants of every format: ``python -m tests.damage.fuzz [--count 10000] [--only NAME]``.

Prints how they ended, and for each fault what makes it again. Ends with 1 if there was any.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.damage.contract import check
from tests.damage.specimens import specimens

_SHOWN = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="mutants of each kind")
    parser.add_argument("--seed", default="fuzz")
    parser.add_argument("--only", help="a specimen's name, or the beginning of it")
    options = parser.parse_args()
    faults = 0
    for name, specimen in specimens().items():
        if options.only and not name.startswith(options.only):
            continue
        for damage in specimen.damages:
            faults += _run(name, damage, options.count, options.seed)
    return 1 if faults else 0


def _run(name: str, damage: str, count: int, seed: str) -> int:
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        tally = check(name, damage, range(count), Path(folder), seed)
    ends = ", ".join(f"{end} {number}" for end, number in sorted(tally.ends.items()))
    kept = tally.kept / max(1, tally.sound)
    seconds = time.perf_counter() - begun
    _say(f"{name:20s} {damage:8s} {ends}; {kept:.1%} of the values kept; {seconds:.0f} s")
    for fault in tally.faults[:_SHOWN]:
        _say(f"  {fault}")
    return len(tally.faults)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
