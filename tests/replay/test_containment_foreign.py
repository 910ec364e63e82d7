"""A foreign program behind its walls: what it tries, and what comes of it."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from forensics.domain.replay import ReplayResult
from forensics.replay.sandbox import child, landlock
from forensics.replay.sandbox.child import Child
from forensics.replay.sandbox.containment import Containment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces and Landlock")

Attempt = Callable[..., tuple[dict[str, Any], ReplayResult]]

ATTEMPTS = """
import errno, json, os, socket, sys, tempfile

def outcome(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))
    return "done"

told = {}
"""


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Attempt:
    """Run a script in the worker's place; returns what it put into `told`, and the result."""

    def run(script: str, foreign: bool = True) -> tuple[dict[str, Any], ReplayResult]:
        worker = tmp_path / "worker.py"
        worker.write_text(
            ATTEMPTS
            + textwrap.dedent(script)
            + '\nprint(json.dumps({"progress": json.dumps(told)}))\n'
        )
        monkeypatch.setattr(child, "WORKER", worker)
        lines: list[str] = []
        result = Child({}, Containment(foreign=foreign, timeout=30), lines.append).run()
        return json.loads(lines[0]), result

    return run


def test_a_foreign_program_writes_only_to_its_own_folder(attempt: Attempt, tmp_path: Path) -> None:
    if not landlock.version():
        pytest.skip("the kernel has no Landlock")
    (tmp_path / "old").write_text("kept")
    told, result = attempt(f"""
        place = {str(tmp_path)!r}
        told["new"] = outcome(lambda: open(place + "/new", "w"))
        told["old"] = outcome(lambda: open(place + "/old", "w"))
        told["append"] = outcome(lambda: open(place + "/old", "a"))
        told["truncate"] = outcome(lambda: os.truncate(place + "/old", 0))
        told["remove"] = outcome(lambda: os.remove(place + "/old"))
        told["folder"] = outcome(lambda: os.mkdir(place + "/folder"))
        told["rename"] = outcome(lambda: os.rename(place + "/old", place + "/other"))
        told["read"] = outcome(lambda: open(place + "/old").read())
        told["own"] = outcome(lambda: open(tempfile.gettempdir() + "/x", "w").write("x"))
        told["null"] = outcome(lambda: open(os.devnull, "w").write("x"))
        told["child"] = os.system("echo x > " + place + "/from_child 2>/dev/null") != 0
    """)
    assert told == {
        "new": "EACCES",
        "old": "EACCES",
        "append": "EACCES",
        "truncate": "EACCES",
        "remove": "EACCES",
        "folder": "EACCES",
        "rename": "EACCES",
        "read": "done",
        "own": "done",
        "null": "done",
        "child": True,
    }
    assert (tmp_path / "old").read_text() == "kept"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old", "worker.py"]
    assert "no writing outside the temporary folder" in result.sandbox


def test_a_foreign_program_has_no_network(attempt: Attempt) -> None:
    script = """
        told["interfaces"] = [name for _, name in socket.if_nameindex()]
        told["connect"] = outcome(lambda: socket.create_connection(("127.0.0.1", 9), 2))
        told["away"] = outcome(lambda: socket.create_connection(("192.0.2.1", 80), 2))
        told["user"] = os.getuid()
    """
    told, result = attempt(script)
    if "no network" not in result.sandbox:
        assert any(layer.startswith("missing: no network (") for layer in result.sandbox)
        pytest.skip("this system gives no network namespaces to this user")
    assert told["interfaces"] == ["lo"]
    assert told["away"] in ("ENETUNREACH", "EACCES")
    assert told["connect"] != "done"
    own, open_result = attempt(script, foreign=False)
    assert own["user"] == told["user"]
    assert "no network" not in open_result.sandbox


def test_the_caller_s_own_program_writes_where_it_likes(attempt: Attempt, tmp_path: Path) -> None:
    told, result = attempt(
        f"""told["new"] = outcome(lambda: open({str(tmp_path)!r} + "/new", "w"))""", foreign=False
    )
    assert told == {"new": "done"}
    assert any("network and files stay open" in layer for layer in result.sandbox)


def test_a_wall_that_cannot_be_built_is_said_to_be_missing(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the launcher runs in a process of its own: stand in for a kernel without Landlock there
    start = "from forensics.replay.sandbox import landlock; landlock.version = lambda: 0; "
    from forensics.replay.sandbox import containment

    monkeypatch.setattr(
        containment,
        "_START",
        containment._START.replace(
            "from forensics.replay.sandbox.launcher",
            start + "from forensics.replay.sandbox.launcher",
        ),
    )
    _, result = attempt("pass")
    assert (
        "missing: no writing outside the temporary folder (the kernel has no Landlock)"
        in result.sandbox
    )


def test_a_forged_report_of_walls_is_not_believed(attempt: Attempt) -> None:
    _, result = attempt("""
        print(json.dumps({"layers": ["a moat"], "missing": []}))
    """)
    assert "a moat" not in result.sandbox
