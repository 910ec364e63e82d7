from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from forensics.domain.run import InputState
from forensics.errors import NothingToAnalyze, UsageError
from forensics.sources import logdir
from forensics.sources.checkpoints.scan import read_checkpoints
from forensics.sources.events.event_file import read_event_file
from forensics.sources.logs.search import HEAD
from forensics.sources.storage import read_ahead
from forensics.sources.storage.early import HELD
from forensics.sources.storage.object_store import ObjectStore
from tests.sources import event_writer as ew
from tests.sources_storage.fake_filesystem import FakeFilesystem
from tests.sources_storage.test_s3 import ARCHIVES, BUNDLES

LABEL = "s3://bucket/run"
DATA = Path(__file__).resolve().parents[1] / "data"
CURVE = [3.0, 2.0, 1.0]


def events(tmp_path: Path, values: list[float]) -> bytes:
    return ew.write(tmp_path, ew.scalars("loss", values)).read_bytes()


def store(fake: FakeFilesystem) -> ObjectStore:
    return ObjectStore(fake, "bucket/run", LABEL)


def test_an_error_of_one_file_is_a_warning_of_it(tmp_path: Path) -> None:
    content = events(tmp_path, CURVE)
    fake = FakeFilesystem({f"bucket/run/{n}.tfevents": content for n in "abcd"})

    def refuse(path: str) -> None:
        errors = {"a": PermissionError("Access Denied"), "b": RuntimeError("?Signature=abc"),
                  "c": ConnectionResetError("peer")}  # fmt: skip
        name = path.rpartition("/")[2][0]
        if name in errors:
            raise errors[name]

    fake.before = refuse
    run = logdir.read_place(store(fake))
    assert {i.path: i.state for i in run.inputs} == {
        "a.tfevents": InputState.DENIED, "b.tfevents": InputState.DENIED,
        "c.tfevents": InputState.DENIED, "d.tfevents": InputState.COMPLETE,
    }  # fmt: skip
    told = {w.path: w.detail for w in run.warnings}
    assert "access is denied" in told["a.tfevents"]
    assert "abc" not in told["b.tfevents"]
    assert [s.values.tolist() for s in run.series] == [CURVE]


def test_a_listing_that_fails_ends_it() -> None:
    fake = FakeFilesystem({})

    def fail(root: str, detail: bool) -> dict[str, dict[str, object]]:
        raise RuntimeError(f"{root} https://s3/?X-Amz-Signature=abc {detail}")

    fake.find = fail  # type: ignore[method-assign]
    with pytest.raises(UsageError) as caught:
        logdir.read_place(store(fake))
    assert str(caught.value).startswith(f"{LABEL}: cannot be listed: RuntimeError")
    assert "abc" not in str(caught.value)


def test_files_written_anew_or_gone_are_live(tmp_path: Path) -> None:
    old, new = events(tmp_path, CURVE), events(tmp_path, [*CURVE, 0.5])
    fake = FakeFilesystem({f"bucket/run/{n}.tfevents": old for n in "abc"})

    def change(path: str) -> None:
        if path.endswith("b.tfevents"):
            fake.files[path] = new

    fake.before = change
    run = logdir.read_place(store(fake))
    assert [i.state for i in run.inputs] == [
        InputState.COMPLETE, InputState.LIVE, InputState.COMPLETE,
    ]  # fmt: skip
    # what was appended is left, as in a file on a disk
    assert [i.bytes for i in run.inputs] == [len(old)] * 3
    assert run.warnings == ()


def test_a_file_that_shrinks_is_live_and_its_beginning_kept(tmp_path: Path) -> None:
    content = events(tmp_path, CURVE)
    fake = FakeFilesystem({"bucket/run/a.tfevents": content})
    fake.before = lambda path: fake.files.update({path: content[:-4]})
    run = logdir.read_place(store(fake))
    assert [(i.state, i.bytes) for i in run.inputs] == [(InputState.LIVE, len(content) - 4)]
    assert [len(s) for s in run.series] == [2]


def test_a_shard_that_is_not_listed_is_missing_without_a_request() -> None:
    folder = DATA / "checkpoints/adam"
    files = {f"bucket/run/{f.name}": f.read_bytes() for f in folder.iterdir()}
    lost = {path: content for path, content in files.items() if ".data-" not in path}
    fake = FakeFilesystem(lost)
    scan = read_checkpoints(store(fake))
    assert "missing_shard" in {w.kind for w in scan.warnings}
    assert {path for path, _, _ in fake.requests} <= set(lost)


def test_many_small_files_take_one_request_each_and_one_listing_before_and_after(
    tmp_path: Path,
) -> None:
    content = events(tmp_path, CURVE)
    fake = FakeFilesystem({f"bucket/run/{n:03}/a.tfevents": content for n in range(200)})
    waiting, most = 0, 0
    lock, together = threading.Lock(), threading.Barrier(4)

    def count(path: str) -> None:
        nonlocal waiting, most
        with lock:
            waiting += 1
            most = max(most, waiting)
        if path < "bucket/run/004":
            # only if four are under way at once does this end
            together.wait(timeout=60)
        with lock:
            waiting -= 1

    fake.before = count
    run = logdir.read_place(store(fake))
    assert len(run.inputs) == len(fake.requests) == 200
    assert fake.listings == 2
    assert 4 <= most <= HELD


def test_a_large_file_is_fetched_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_ahead, "BLOCK", 1000)
    content = events(tmp_path, [float(i) for i in range(1000)])
    fake = FakeFilesystem({"bucket/run/a.tfevents": content})
    file = read_event_file(store(fake), "a.tfevents")
    assert file.input.bytes == len(content)
    assert len(file.columns["loss"].steps) == 1000
    assert sum(end - start for _, start, end in fake.requests) == len(content)
    assert max(end - start for _, start, end in fake.requests) == 1000


def test_a_server_without_ranges_is_read_all_the_same() -> None:
    fake = FakeFilesystem({"bucket/run/a": b"0123456789"})
    whole = fake.cat_file
    fake.cat_file = lambda path, start, end: whole(path, 0, 99)  # type: ignore[method-assign]
    with store(fake).open("a") as blob:
        blob.size = 4
        assert bytes(blob.read(0, 4)) == b"0123"


def test_without_an_etag_what_was_read_is_hashed(tmp_path: Path) -> None:
    content = events(tmp_path, CURVE)
    fake = FakeFilesystem({"bucket/run/a.tfevents": content})
    fake.info = lambda path: {"size": len(content), "type": "file"}  # type: ignore[method-assign]
    (file,) = logdir.read_place(store(fake)).inputs
    assert file.etag is None
    assert file.sha256 is not None


def test_a_remote_file_can_be_hashed_by_whoever_needs_it() -> None:
    fake = FakeFilesystem({"bucket/run/a": b"0123456789"})
    with store(fake).open("a") as blob:
        assert b"".join(blob.pieces()) == b"0123456789"
        assert blob.sha256() == hashlib.sha256(b"0123456789").hexdigest()


def test_a_size_that_is_not_told_is_refused() -> None:
    fake = FakeFilesystem({"bucket/run/a.tfevents": b""})
    fake.info = lambda path: {"size": None, "type": "file"}  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="does not say how large"):
        logdir.read_place(store(fake))


def test_of_files_that_may_be_no_logs_only_the_beginning_is_fetched() -> None:
    fake = FakeFilesystem({"bucket/run/big.csv": b"\0" * (1 << 20)})
    with pytest.raises(NothingToAnalyze):
        logdir.read_place(store(fake))
    assert [end - start for _, start, end in fake.requests] == [HEAD]


@pytest.mark.parametrize("fault", ["refused", "broken", "gone", "short", "silent"])
@pytest.mark.parametrize("root", [BUNDLES, ARCHIVES], ids=["bundles", "h5"])
def test_a_fault_of_any_request_is_said_and_harms_nothing_else(root: Path, fault: str) -> None:
    files = {
        f"bucket/run/{f.relative_to(root).as_posix()}": f.read_bytes()
        for f in root.rglob("*")
        if f.is_file()
    }
    sound = FakeFilesystem(files)
    whole = logdir.read_place(store(sound))
    by_path = {i.path: i for i in whole.inputs}
    for path in sorted({path for path, _, _ in sound.requests}):
        fake = Faulty(files, path, fault)
        run = logdir.read_place(store(fake))
        hit = path.removeprefix("bucket/run/")
        told = {w.path for w in run.warnings} | {
            i.path for i in run.inputs if i.state is not InputState.COMPLETE
        }
        assert any(hit.startswith(p.removesuffix(".index")) for p in told), (hit, run.warnings)
        for other in run.inputs:
            if other.path != hit and not _of_one(hit, other.path):
                assert other == by_path[other.path]


def _of_one(hit: str, path: str) -> bool:
    """Whether two files are of one checkpoint."""
    return hit.partition(".")[0] == path.partition(".")[0]


class Faulty(FakeFilesystem):
    """Every request for one file goes wrong."""

    def __init__(self, files: dict[str, bytes], path: str, fault: str) -> None:
        super().__init__(files)
        self._path, self._fault = path, fault

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        data = super().cat_file(path, start, end)
        if path != self._path:
            return data
        if self._fault == "refused":
            raise PermissionError("Access Denied")
        if self._fault == "broken":
            raise RuntimeError("the connection broke")
        if self._fault == "gone":
            raise FileNotFoundError(path)
        return data[: len(data) // 2] if self._fault == "short" else b""
