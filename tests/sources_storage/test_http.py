"""A single file at an HTTP server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from forensics import read
from forensics.errors import NothingToAnalyze
from forensics.sources.storage import read_ahead
from tests.sources import event_writer as ew

VALUES = [float(i) for i in range(200)]


class Handler(BaseHTTPRequestHandler):
    """Serves one content under ``/run/``, by range, and refuses ``/denied``."""

    content = b""
    asked: list[str | None]

    def do_HEAD(self) -> None:
        self._answer(head=True)

    def do_GET(self) -> None:
        self._answer(head=False)

    def _answer(self, head: bool) -> None:
        if not self.path.startswith("/run/1.tfevents?key=abc"):
            self.send_error(403 if self.path.startswith("/denied") else 404)
            return
        wanted, body = self.headers.get("Range"), self.content
        if not head:
            self.asked.append(wanted)
        self.send_response(206 if wanted else 200)
        if wanted:
            first, last = wanted.removeprefix("bytes=").split("-")
            body = body[int(first) : int(last) + 1]
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(self.content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"v1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not head:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    Handler.content = ew.write(tmp_path, ew.scalars("loss", VALUES)).read_bytes()
    Handler.asked = []
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    http.server_close()


def test_a_file_is_read_by_range(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "BLOCK", 4096)
    run = read(f"{server}/run/1.tfevents?key=abc")
    assert (run.name, run.root) == ("1.tfevents", f"{server}/run")
    assert [s.values.tolist() for s in run.series] == [VALUES]
    assert [(i.etag, i.sha256, i.bytes) for i in run.inputs] == [("v1", None, len(Handler.content))]
    assert len(Handler.asked) > 1
    assert all(Handler.asked)


@pytest.mark.parametrize(("path", "why"), [("none", "404|nothing|no such"), ("denied", "403")])
def test_what_is_refused_is_one_line(server: str, path: str, why: str) -> None:
    with pytest.raises(NothingToAnalyze, match=why) as caught:
        read(f"{server}/{path}?key=hunter2")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
