"""An event at an address, as in `forensics.sources.events.event_message`, taken to pieces.

Only what nearly every record holds is understood: a step, a time, one or more summaries of values.
Versions, graphs and logs of the session, of which a file has a few, obsolete histograms, values
with two contents or two descriptions, and everything malformed are left to pure Python.
"""

from __future__ import annotations

import numpy as np

from forensics.sources.compiled.build import helper
from forensics.sources.compiled.layout import MAX_VALUES, SCALAR, keep_value
from forensics.sources.compiled.machine import load_f32, load_f64
from forensics.sources.compiled.tensor import BLOB, LEFT, scalar
from forensics.sources.compiled.wire import field
from forensics.sources.events.blob_index import KINDS, BlobKind

_IMAGE, _HISTOGRAM, _AUDIO, _TENSOR, _DESCRIPTION = (
    KINDS.index(kind)
    for kind in (
        BlobKind.IMAGE,
        BlobKind.HISTOGRAM,
        BlobKind.AUDIO,
        BlobKind.TENSOR,
        BlobKind.METADATA,
    )
)


@helper
def _value(address, end, values, count):
    """Take a Summary.Value to pieces; returns the new count of values, -1 if it is left."""
    none = np.int64(0)
    tag, tag_end, metadata, metadata_end = address, address, none, none
    what, first, last = none, none, none
    number = 0.0
    while address < end:
        key, start, address = field(address, end)
        if address < 0:
            return -1
        if key == 1 << 3 | 2:
            tag, tag_end = start, address
        elif key == 9 << 3 | 2:
            if metadata_end:
                return -1
            metadata, metadata_end = start, address
        elif key == 2 << 3 | 5 or (key & 7 == 2 and 3 << 3 < key <= 8 << 3 | 2 and key >> 3 != 7):
            if what:
                return -1
            what, first, last = key, start, address
    if what == 8 << 3 | 2:
        status, number = scalar(first, last)
        if status == LEFT:
            return -1
        kind = np.int64(_TENSOR if status == BLOB else SCALAR)
    elif what == 2 << 3 | 5:
        kind, number = SCALAR, load_f32(first)
    elif what == 5 << 3 | 2:
        kind = _HISTOGRAM
    elif what == 4 << 3 | 2:
        kind = _IMAGE
    elif what == 6 << 3 | 2:
        kind = _AUDIO
    elif what:
        return -1
    elif metadata_end:
        kind, first, last = _DESCRIPTION, metadata, metadata_end
    else:
        return count
    if count >= MAX_VALUES:
        return -1
    keep_value(values, count, kind, tag, tag_end, first, last, metadata, metadata_end, number)
    return count + 1


@helper
def take_apart(address, end, values):
    """Count of values (-1: the event is left), step and wall time."""
    count, step, wall_time = np.int64(0), 0, 0.0
    while address < end:
        key, first, address = field(address, end)
        if address < 0:
            return -1, 0, 0.0
        if key == 5 << 3 | 2:
            at, last = first, address
            while at < last:
                inner, start, at = field(at, last)
                if at < 0:
                    return -1, 0, 0.0
                if inner == 1 << 3 | 2:
                    count = _value(start, at, values, count)
                    if count < 0:
                        return -1, 0, 0.0
        elif key == 2 << 3:
            step = first
        elif key == 1 << 3 | 1:
            wall_time = load_f64(first)
        elif key & 7 == 2 and 3 <= key >> 3 <= 10:
            return -1, 0, 0.0
    return count, step, wall_time
