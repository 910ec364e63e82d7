"""Debug dumps (tfdbg2) that a run left, read without TensorFlow instead of a replay."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from forensics.domain.replay import Phase, ReplayStatus
from forensics.pipeline.analysis import analyze
from forensics.replay.recorded_dump import RecordedDump
from forensics.sources.debug_dump import dump_files, dumps_among, read_debug_dump
from forensics.sources.storage.place import Directory
from tests.replay.replaying import PROGRAMS, line_of

pytestmark = pytest.mark.tf


def written(folder: Path, mode: str) -> Path:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    program = str(PROGRAMS / "dumped.py")
    subprocess.run([sys.executable, program, str(folder), mode], env=environment, check=True)
    return folder


@pytest.fixture(scope="module")
def dumped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("dump"), "FULL_HEALTH")


def judged(folder: Path) -> RecordedDump:
    return RecordedDump(Directory(folder), dump_files(p.name for p in folder.iterdir()))


def test_the_first_harmful_op_of_a_dump_is_named_with_its_call_and_line(dumped: Path) -> None:
    dump = judged(dumped)
    result = dump.result()
    assert result.status is ReplayStatus.NOT_RUN
    assert (result.source, result.instrument, result.step) == ("debug_dump", "debug_dump", None)
    assert "execution 3 of the dump" in result.reason
    origin = result.origin
    assert origin is not None and origin.source is not None
    assert (origin.op_type, origin.phase) == ("Log", Phase.FORWARD)
    assert origin.source.line == line_of("dumped", "total += tf.math.log")
    assert (origin.source.file, origin.source.function) == ("dumped.py", "summed_logs")
    # the mask is as bad in every step
    assert [(b.op_type, b.op_name) for b in result.benign] == [("Const", "SelectV2/e")]
    assert result.other_origins == ()
    assert result.attempts == () and "nothing was run" in result.reason
    assert {i.state.value for i in dump.inputs} == {"complete"} and dump.warnings == ()
    assert result.environment["tensorflow"].startswith("2.")


def test_a_dump_in_the_log_directory_is_read_instead_of_a_replay(dumped: Path) -> None:
    document = analyze(dumped).document
    replay, verdict = document["replay"], document["verdict"]
    assert (verdict["status"], verdict["first_bad_step"]) == ("failed", None)
    assert verdict["grade"] != "reproduced"
    assert replay["status"] == "not_run" and replay["instrument"] == "debug_dump"
    assert replay["origin"]["op_type"] == "Log"


@pytest.mark.slow
def test_other_modes_tell_less(tmp_path: Path) -> None:
    for mode, op_type in (("CONCISE_HEALTH", "Log"), ("CURT_HEALTH", "Log"), ("NO_TENSOR", None)):
        folder = tmp_path / mode
        folder.mkdir()
        result = judged(written(folder, mode)).result()
        if op_type is not None:
            assert result.origin is not None and result.origin.op_type == op_type
        else:
            assert result.status is ReplayStatus.NOT_RUN
            assert "write it with tensor_debug_mode='FULL_HEALTH'" in result.reason


def test_damage_is_a_warning_and_never_an_exception(dumped: Path, tmp_path: Path) -> None:
    names = dump_files(p.name for p in dumped.iterdir())
    chance = random.Random(7)
    sound = {name: (dumped / name).read_bytes() for name in names}
    small = [n for n in names if not n.endswith("source_files")]
    for _ in range(60):
        name = chance.choice(small)
        data = bytearray(sound[name])
        kind = chance.randrange(3)
        if kind == 0:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[chance.randrange(len(data)) :]
        else:
            at = chance.randrange(len(data))
            data[at : at + 64] = bytes(64)
        (tmp_path / name).write_bytes(bytes(data))
        ((prefix, _),) = dumps_among([name]).items()
        dump = read_debug_dump(Directory(tmp_path), prefix, [name])
        assert dump.inputs[0].path == name
        if bytes(data) != sound[name] and kind != 1:
            assert dump.warnings or dump.inputs[0].state.value != "complete"
    # the reader's answers stand without each of the files
    for left_out in names:
        folder = tmp_path / ("without_" + left_out)
        folder.mkdir()
        for name in names:
            if name != left_out:
                os.link(dumped / name, folder / name)
        judged(folder).result()


def test_a_fifo_among_the_files_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "tfdbg_events.1.vm.execution")
    dump = judged(tmp_path)
    assert dump.result().status is ReplayStatus.NOT_RUN
    assert [w.kind for w in dump.warnings] == ["denied"]
