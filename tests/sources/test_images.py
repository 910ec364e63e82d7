"""Images, sounds, texts and what only TensorFlow 1 writes."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forensics.errors import Damaged
from forensics.sources.events import images
from forensics.sources.events.session_log import log_message, run_metadata, session_log
from forensics.sources.events.texts import text_tensor
from tests.sources import event_writer as ew


def strings(*of: bytes, shape: tuple[int, ...] | None = None) -> bytes:
    rest = b"".join(ew.bytes_field(8, text) for text in of)
    return ew.tensor(7, (len(of),) if shape is None else shape, rest)


def sound(rate: int, channels: int, frames: int) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setframerate(rate)
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.writeframes(bytes(2 * channels * frames))
    return file.getvalue()


def test_images_of_both_formats() -> None:
    message = ew.number_field(1, 4) + ew.number_field(2, 6) + ew.number_field(3, 3)
    row = {"index": 0, "width": 6, "height": 4, "encoded": b"png"}
    assert images.image_message(message + ew.bytes_field(4, b"png")) == [row]
    found = images.image_tensor(strings(b"6", b"4", b"png", b"two"))
    assert found == [row, {"index": 1, "width": 6, "height": 4, "encoded": b"two"}]
    assert images.image_tensor(strings(b"6", b"4")) == []


def test_sounds_of_both_formats() -> None:
    encoded = sound(8000, 2, 50)
    message = ew.float_field(1, 8000.0) + ew.number_field(2, 2) + ew.number_field(3, 50)
    message += ew.bytes_field(4, encoded) + ew.bytes_field(5, b"audio/wav")
    [old] = images.audio_message(message)
    [new] = images.audio_tensor(strings(encoded, b"said", shape=(1, 2)))
    assert (old.pop("label"), new.pop("label")) == ("", "said")
    assert old == new
    assert (new["sample_rate"], new["channels"], new["length_frames"]) == (8000.0, 2, 50)


def test_sounds_that_are_no_wav() -> None:
    rows = images.audio_tensor(strings(b"OggS", b"", sound(1, 1, 1)[:30]))
    assert [(row["content_type"], row["length_frames"]) for row in rows] == [("", 0)] * 3


@given(st.binary(max_size=80), st.integers(0, 60))
def test_any_header(garbage: bytes, cut: int) -> None:
    for data in (garbage, b"RIFF\0\0\0\0WAVE" + garbage, sound(8, 1, 4)[:cut] + garbage):
        found = images.wav_header(data)
        assert found is None or found[2] <= len(data)


def test_texts() -> None:
    assert text_tensor(strings(b"one")) == "one"
    assert text_tensor(strings("grün".encode(), shape=())) == "grün"
    assert text_tensor(strings(b"\xff")) == "\\xff"
    table = text_tensor(strings(b"a", b"b", b"c", b"d", shape=(2, 2)))
    assert table.tolist() == [["a", "b"], ["c", "d"]]


@pytest.mark.parametrize(
    ("decode", "message"),
    [
        (text_tensor, ew.tensor(1, (), ew.float_field(5, 1.0))),
        (text_tensor, strings(b"a", shape=(1 << 30,))),
        (images.image_tensor, strings(b"6")),
        (images.image_tensor, strings(b"6", b"-4")),
        (images.image_tensor, strings(b"6", b"four")),
        (images.image_tensor, strings(b"9", shape=(1 << 30,))),
        (images.image_tensor, ew.tensor(1, (3,))),
        (images.audio_tensor, strings(b"a", b"b", b"c", shape=(1, 3))),
        (images.audio_tensor, strings(b"a", shape=(1 << 20, 2))),
        (images.audio_tensor, strings(b"a", shape=())),
        (images.image_message, ew.bytes_field(1, b"4")),
        (images.audio_message, ew.number_field(4, 1)),
        (session_log, ew.bytes_field(1, b"")),
        (log_message, ew.number_field(2, 1)),
        (run_metadata, ew.number_field(2, 1)),
    ],
)
def test_broken_values(decode: Callable[[bytes], Any], message: bytes) -> None:
    with pytest.raises(Damaged):
        decode(message)


def test_states_that_nobody_knows() -> None:
    assert session_log(ew.number_field(1, 9))[0]["status"] == "9"
    assert session_log(b"")[0] == {"status": "unspecified", "checkpoint_path": "", "message": ""}
    assert log_message(ew.number_field(1, 35))[0] == {"level": "35", "message": ""}
    named = ew.bytes_field(1, b"step 9") + ew.bytes_field(2, b"\1\2")
    assert run_metadata(named) == {"name": "step 9", "data": b"\1\2"}
