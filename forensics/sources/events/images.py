"""Images and sounds: sizes and encoded bytes of both formats. Nothing is decompressed.

TensorFlow 1, PyTorch and tensorboardX write a ``Summary.Image`` or ``Summary.Audio`` each;
TensorFlow 2 a tensor of strings: width, height and one encoded image after the other [1]_; rows of
an encoded sound and a label [2]_.

References
----------
.. [1] TensorBoard, ``tensorboard/plugins/image/summary_v2.py``.
.. [2] TensorBoard, ``tensorboard/plugins/audio/summary_v2.py``.
"""

from __future__ import annotations

import struct
from typing import Any

from forensics.errors import Damaged
from forensics.sources.events.tensors import decode_tensor
from forensics.sources.events.texts import readable
from forensics.sources.typed_fields import Field, fields, message_field, number_field
from forensics.sources.wire import FIXED32, signed

Row = dict[str, Any]


def image_message(data: bytes, path: str = "") -> list[Row]:
    """Decode a ``Summary.Image``: height, width, (colour space), encoded bytes."""
    row: Row = {"index": 0, "width": 0, "height": 0, "encoded": b""}
    for field in fields(data, (0, len(data)), path):
        if field.number in (1, 2):
            row["height" if field.number == 1 else "width"] = _int32(field, path)
        elif field.number == 4:
            row["encoded"] = _bytes(data, field, path)
    return [row]


def image_tensor(data: bytes, path: str = "") -> list[Row]:
    """Decode a tensor of width, height and any number of encoded images.

    Raises
    ------
    Damaged
        It is no such tensor.
    """
    strings = _strings(data, path)
    if strings.ndim != 1 or len(strings) < 2 or strings.size > len(data):
        raise Damaged(path, 0, "bad_image", f"an image summary of shape {strings.shape}")
    width, height = (_decimal(text, path) for text in strings[:2])
    return [
        {"index": index, "width": width, "height": height, "encoded": encoded}
        for index, encoded in enumerate(strings[2:])
    ]


def audio_message(data: bytes, path: str = "") -> list[Row]:
    """Decode a ``Summary.Audio``."""
    row = _sound(0, 0.0, 0, 0, "", "", b"")
    for field in fields(data, (0, len(data)), path):
        if field.number == 1 and field.wire_type == FIXED32:
            row["sample_rate"] = struct.unpack_from("<f", data, field.first)[0]
        elif field.number in (2, 3):
            key = "channels" if field.number == 2 else "length_frames"
            row[key] = signed(number_field(field, path))
        elif field.number == 4:
            row["encoded"] = _bytes(data, field, path)
        elif field.number == 5:
            row["content_type"] = readable(_bytes(data, field, path))
    return [row]


def audio_tensor(data: bytes, path: str = "") -> list[Row]:
    """Decode a tensor of encoded sounds, with or without a label each.

    Rate, channels and frames are taken from the WAV header, and 0 where there is none.

    Raises
    ------
    Damaged
        It is no such tensor.
    """
    strings = _strings(data, path)
    if strings.ndim not in (1, 2) or strings.size > len(data):
        raise Damaged(path, 0, "bad_audio", f"a sound summary of shape {strings.shape}")
    if strings.ndim == 2 and strings.shape[1] != 2:
        raise Damaged(path, 0, "bad_audio", f"a sound summary of shape {strings.shape}")
    pairs = strings.tolist() if strings.ndim == 2 else [(sound, b"") for sound in strings]
    rows = []
    for index, (encoded, label) in enumerate(pairs):
        known = wav_header(encoded)
        kind = "audio/wav" if known else ""
        rate, channels, frames = known or (0, 0, 0)
        rows.append(_sound(index, float(rate), channels, frames, kind, readable(label), encoded))
    return rows


def wav_header(data: bytes) -> tuple[int, int, int] | None:
    """Sample rate, channels and frames of a WAV file; None if it is none.

    A RIFF file is a list of chunks: a name, a size, as many bytes; ``fmt `` comes before ``data``.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    position, layout = 12, None
    while position + 8 <= len(data):
        name, size = data[position : position + 4], struct.unpack_from("<I", data, position + 4)[0]
        position += 8
        if name == b"fmt " and size >= 16 and position + 16 <= len(data):
            layout = struct.unpack_from("<HHIIHH", data, position)
        elif name == b"data" and layout is not None:
            _, channels, rate, _, width, _ = layout
            return rate, channels, min(size, len(data) - position) // width if width else 0
        position += size + size % 2
    return None


def _sound(
    index: int, rate: float, channels: int, frames: int, kind: str, label: str, encoded: bytes
) -> Row:
    return {
        "index": index,
        "sample_rate": rate,
        "channels": channels,
        "length_frames": frames,
        "content_type": kind,
        "label": label,
        "encoded": encoded,
    }


def _strings(data: bytes, path: str) -> Any:
    tensor = decode_tensor(data, path)
    if tensor.dtype != object:
        raise Damaged(path, 0, "bad_tensor", f"strings of dtype {tensor.dtype}")
    return tensor


def _decimal(text: bytes, path: str) -> int:
    if not text.isdigit() or len(text) > 10:
        raise Damaged(path, 0, "bad_image", f"a size of {text[:20]!r}")
    return int(text)


def _int32(field: Field, path: str) -> int:
    return signed(number_field(field, path), 32)


def _bytes(data: bytes, field: Field, path: str) -> bytes:
    start, end = message_field(field, path)
    return data[start:end]
