"""Texts: string tensors of the text plugin, one string or a table of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from forensics.errors import Damaged
from forensics.sources.events.tensors import decode_tensor


def readable(raw: bytes) -> str:
    """Text of bytes; what is no UTF-8 is shown as escapes."""
    return raw.decode("utf-8", "backslashreplace")


def text_tensor(data: bytes, path: str = "") -> Any:
    """Decode a text summary.

    Returns
    -------
    str or object array of str
        A single string (PyTorch and tensorboardX write it as a tensor of shape ``[1]``), or the
        strings in the tensor's shape.

    Raises
    ------
    Damaged
        It is no tensor of strings.
    """
    tensor = decode_tensor(data, path)
    if tensor.dtype != object:
        raise Damaged(path, 0, "bad_text", f"a text summary of dtype {tensor.dtype}")
    if tensor.size == 1:
        return readable(tensor.reshape(-1)[0])
    if tensor.size > len(data):
        raise Damaged(path, 0, "limit", f"{tensor.size} strings in {len(data)} bytes")
    strings = np.empty(tensor.size, object)
    strings[:] = [readable(item) for item in tensor.reshape(-1)]
    return strings.reshape(tensor.shape)
