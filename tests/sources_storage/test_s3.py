"""A run in a bucket of a real HTTP S3 is read as if it lay on a disk."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from s3fs import S3FileSystem

from forensics import analyze, read
from forensics.domain.run import InputState
from forensics.errors import NothingToAnalyze, UsageError
from forensics.sources.checkpoints.named import named_checkpoints
from forensics.sources.checkpoints.registry import open_checkpoint
from forensics.sources.checkpoints.summarise import summarise_all
from forensics.sources.storage import read_ahead
from tests.sources import event_writer as ew
from tests.sources_storage.conftest import BUCKET, Bucket

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
BUNDLES = FIXTURES / "unstable_loss/log_of_zero/log_of_zero"
ARCHIVES = FIXTURES / "healthy/hundred_images/hundred_images"
PROGRAM = """
import sys
from forensics.cli.main import main
try:
    main(sys.argv[1:])
finally:
    loaded = {"tensorflow", "keras"} & set(sys.modules)
    if loaded:
        raise SystemExit(f"loaded: {loaded}")
"""


def scrubbed(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out what tells a bucket from a disk."""
    run = {**document["run"], "name": ""}
    inputs = [
        {k: v for k, v in i.items() if k not in ("sha256", "etag")} for i in document["inputs"]
    ]
    return {**document, "run": run, "inputs": inputs}


def test_the_command_tells_the_same_of_a_bucket_as_of_a_disk(s3: Bucket) -> None:
    assert importlib.util.find_spec("tensorflow") is not None
    url = s3.put_tree(BUNDLES, "runs/log_of_zero")
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, "analyze", url, "--format", "json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 1, told.stderr
    remote, local = json.loads(told.stdout), analyze(BUNDLES).to_dict()
    assert remote["run"]["name"] == "log_of_zero"
    assert scrubbed(remote) == scrubbed(local)
    assert all(i["etag"] and i["sha256"] is None for i in remote["inputs"])
    assert all(i["sha256"] and "etag" not in i for i in local["inputs"])


def test_weights_in_a_bucket(s3: Bucket) -> None:
    url = s3.put_tree(ARCHIVES, "x")
    remote, local = analyze(url).to_dict(), analyze(ARCHIVES).to_dict()
    assert scrubbed(remote) == scrubbed(local)
    assert len(remote["checkpoints"]) == 9


def test_large_files_by_range(s3: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(read_ahead, "BLOCK", 1 << 16)
    values = [float(i) for i in range(5000)]
    ew.write(tmp_path / "logs", ew.scalars("loss", values))
    for step in (10, 20):
        (tmp_path / f"{step}.weights.h5").write_bytes(
            (ARCHIVES / "checkpoints/step_00020.weights.h5").read_bytes()
        )
    run = read(s3.put_tree(tmp_path, "run"))
    assert [s.values.tolist() for s in run.series] == [values]
    assert [c.tensors for c in run.checkpoint_stats] == [
        c.tensors for c in read(tmp_path).checkpoint_stats
    ]
    assert max(i.bytes for i in run.inputs) > 4 * read_ahead.BLOCK


def test_a_single_file(s3: Bucket) -> None:
    (events,) = (BUNDLES / "logs").iterdir()
    s3.put(f"logs/{events.name}", events.read_bytes())
    run = read(f"s3://{BUCKET}/logs/{events.name}")
    assert (run.name, run.root) == (events.name, f"s3://{BUCKET}/logs")
    assert [s.tag for s in run.series] == [s.tag for s in read(events).series]
    assert run.inputs[0].etag


def test_placeholders_of_folders_and_odd_keys(s3: Bucket) -> None:
    (events,) = (BUNDLES / "logs").iterdir()
    s3.put("run/", b"")
    s3.put("run/logs/", b"")
    s3.put("run/a  b/ü?#%41&/1.tfevents", events.read_bytes())
    run = read(f"s3://{BUCKET}/run/")
    assert [i.path for i in run.inputs] == ["a  b/ü?#%41&/1.tfevents"]
    assert all(i.state is InputState.COMPLETE for i in run.inputs)


def test_a_neighbour_with_the_same_beginning_is_another_run(s3: Bucket) -> None:
    (events,) = (BUNDLES / "logs").iterdir()
    s3.put("run/1.tfevents", events.read_bytes())
    s3.put("run-2/1.tfevents", events.read_bytes())
    assert [i.path for i in read(f"s3://{BUCKET}/run").inputs] == ["1.tfevents"]


def test_more_files_than_one_page_of_a_listing(s3: Bucket) -> None:
    (events,) = (BUNDLES / "logs").iterdir()
    s3.put_many((f"run/image-{index}.png" for index in range(1001)), b"x")
    s3.put("run/z.tfevents", events.read_bytes())
    assert [i.path for i in read(f"s3://{BUCKET}/run").inputs] == ["z.tfevents"]


@pytest.mark.parametrize("url", [f"s3://{BUCKET}/none", "s3://nobody/run", f"s3://{BUCKET}"])
def test_nothing_is_there(s3: Bucket, url: str) -> None:
    with pytest.raises(NothingToAnalyze) as caught:
        read(url)
    assert str(caught.value).startswith(url)


def test_without_credentials(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    url = s3.put_tree(BUNDLES, "run", public=True)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(UsageError, match=r"no credentials in the .* FSSPEC_S3_ANON=true"):
        read(url)
    # as it says; read when fsspec is imported
    monkeypatch.setenv("FSSPEC_S3_ANON", "true")
    code = f"import forensics; assert forensics.read({url!r}).series"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_objects_that_may_not_be_read(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    (events,) = (BUNDLES / "logs").iterdir()
    s3.put("run/a.tfevents", events.read_bytes())
    s3.put("run/b.tfevents", events.read_bytes(), public=True)
    monkeypatch.setattr("fsspec.config.conf", {"s3": {"anon": True}})
    S3FileSystem.clear_instance_cache()
    run = read(f"s3://{BUCKET}/run")
    assert [i.state for i in run.inputs] == [InputState.DENIED, InputState.COMPLETE]
    assert [(w.path, w.detail) for w in run.warnings] == [
        ("a.tfevents", "this file cannot be read: access is denied")
    ]


def test_a_profile_that_is_not_there(s3: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(UsageError, match=r"no credentials can be had .*nobody"):
        read(f"s3://{BUCKET}/run")


def test_a_replay_needs_a_copy(s3: Bucket) -> None:
    url = s3.put_tree(BUNDLES, "run")
    with pytest.raises(UsageError, match="copy the run"):
        analyze(url, replay=f"{__file__}:case")


def test_checkpoints_by_folder_and_by_prefix(s3: Bucket) -> None:
    url = s3.put_tree(BUNDLES / "checkpoints", "run/checkpoints")
    for name, here, there in [
        ("folder", BUNDLES / "checkpoints", url),
        ("prefix", BUNDLES / "checkpoints/ckpt-50", f"{url}/ckpt-50"),
        ("file", BUNDLES / "checkpoints/ckpt-50.index", f"{url}/ckpt-50.index"),
    ]:
        remote, local = (_checkpoint(where) for where in (there, here))
        assert remote == local, name
    with pytest.raises(NothingToAnalyze):
        named_checkpoints(f"{url}/ckpt-51")


def _checkpoint(where: str | Path) -> list[tuple[str, str]]:
    named = named_checkpoints(where)
    found = []
    for form, claim in named.claims:
        with open_checkpoint(named.place, form, claim) as checkpoint:
            summarise_all(checkpoint)
            found.append((claim.name, repr(checkpoint.contents.tensors)))
    return found
