"""Run the reproducers of finished reports in fresh processes and print what they did.

    python benchmarks/reproducers.py REPORT.json [REPORT.json ...]

A report names the op that made the first harmful non-finite value and holds the text of a script
that fails with the same op. The script is run with this interpreter in an empty folder (with the
npz file that lies beside the report's reproducer, if it reads one): exit status 1 and its last
line say that it failed as described. Exit status of this program: 1 if any did not.
"""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

DATA, SECONDS = "reproducer.npz", 300
ROW = "{:<22} {:<36} {:<36} {:>5}  {}"


def main(reports: list[str]) -> int:
    if not reports:
        print(__doc__)
        return 0
    print(ROW.format("report", "op in the report", "op in the script", "lines", "outcome"))
    outcomes = [judged(Path(name)) for name in reports]
    failed = sum(o == "fails with the same op" for o in outcomes)
    without = sum(o.startswith("no script") for o in outcomes)
    scripts = len(outcomes) - without
    print(f"{failed} of {scripts} scripts fail with the same op; {without} without an op")
    return 0 if failed == scripts else 1


def judged(path: Path) -> str:
    replay = json.loads(path.read_text())["replay"]
    origin, text = replay["origin"] or {}, replay.get("reproducer_script")
    op, lines, inside = origin.get("op_type"), 0, None
    if text is None:
        outcome = "no script: " + why_none(replay)
    else:
        inside = (re.findall(r"tf\.raw_ops\.(\w+)\(", text) or [None])[0]
        lines, outcome = len(text.splitlines()), ran(text, path, replay.get("reproducer"))
        if outcome == "fails" and op is None:
            outcome = "no script of an op: it shows the bad batch"
        elif outcome == "fails":
            outcome = "fails with the same op" if inside == op else "fails with another op"
        if foreign := imported(text) - {"sys", "pathlib", "numpy", "tensorflow"}:
            outcome += f"; imports {', '.join(sorted(foreign))}"
    name = path.parent.name + "/" + path.name
    said = op or origin.get("phase") or "-"
    print(ROW.format(name, said, inside or "-", lines or "-", outcome), flush=True)
    return outcome


def why_none(replay: dict[str, Any]) -> str:
    whose = (replay.get("whose_bug") or {}).get("reason", "")
    found = re.search(r"no reproducer: [^;]*", replay["reason"])
    return found.group(0) if found else (whose[:80] or replay["status"])


def ran(text: str, report: Path, kept: str | None) -> str:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "reproducer.py"
        script.write_text(text)
        for place in (report.parent / DATA, Path(kept).parent / DATA if kept else report):
            if DATA in text and place.is_file() and place.name == DATA:
                shutil.copy(place, folder)
        ended = subprocess.run(
            [sys.executable, "-I", str(script)],
            cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    last = (ended.stdout.strip().splitlines() or [""])[-1]
    if ended.returncode == 1 and last == "it fails as described":
        return "fails"
    return f"exit status {ended.returncode}: {(ended.stderr or last).strip()[-80:]!r}"


def imported(text: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
