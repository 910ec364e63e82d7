"""Where kernels keep things: all memory is given to them by address, all state in one array.

Numba hands an array to a function as seven words, an address as one; and one array of state is all
that Python has to pass.
"""

from __future__ import annotations

import numpy as np

from forensics.sources.compiled.build import helper
from forensics.sources.compiled.machine import load_i64, load_u8, load_u32, store_f64, store_i64

MAX_VALUES = 4096
"""Values of one event that are taken apart by kernels."""

VALUE = 64
"""Bytes of what is known of a value of one event, between taking it apart and keeping it."""
KIND, TAG, TAG_END, FIRST, LAST, METADATA, METADATA_END, NUMBER = range(0, VALUE, 8)
"""Kind (a position in `KINDS`, or SCALAR); addresses; METADATA_END is 0 where there is no metadata;
the number of a scalar."""
SCALAR = -1

KNOWN = 48
"""Bytes of what is known of a tag."""
START, LENGTH, DESCRIPTION, DESCRIPTION_LENGTH, FOLLOWER, N_SCALARS = range(0, KNOWN, 8)
"""Where its bytes and those of its first metadata (-1: none) lie in the store; which tag was seen
after it; how many scalars it has."""

_STATE = (
    # the bytes: address, number, offset in the stream, where to go on, what is verified
    *("BASE", "SIZE", "ORIGIN", "POSITION", "VERIFIED_LENGTH"),
    # what was counted
    *("N_EVENTS", "N_UNVERIFIED"),
    # scalars
    *("N_ROWS", "MAX_ROWS", "ROW_TAG", "ROW_STEP", "ROW_TIME", "ROW_VALUE"),
    # other values
    *("N_BLOBS", "MAX_BLOBS", "BLOB_TAG", "BLOB_KIND", "BLOB_STEP", "BLOB_TIME"),
    *("BLOB_OFFSET", "BLOB_LENGTH"),
    # tags
    *("N_TAGS", "MAX_TAGS", "TAGS", "SLOTS", "N_SLOTS", "SECRET", "LAST_TAG", "LAST_DESCRIBED"),
    # the store, and the values of an event
    *("STORE", "STORED", "MAX_STORED", "VALUES"),
)
STATE = {name: 8 * index for index, name in enumerate(_STATE)}
"""Offset of each word of the state, in bytes."""


def new_state() -> np.ndarray:
    """State in which nothing is known."""
    return np.zeros(len(_STATE), np.int64)


@helper
def keep_value(values, count, kind, tag, tag_end, first, last, metadata, metadata_end, number):
    """Keep what is known of value `count` of an event."""
    at = values + count * VALUE
    store_i64(at + KIND, kind)
    store_i64(at + TAG, tag)
    store_i64(at + TAG_END, tag_end)
    store_i64(at + FIRST, first)
    store_i64(at + LAST, last)
    store_i64(at + METADATA, metadata)
    store_i64(at + METADATA_END, metadata_end)
    store_f64(at + NUMBER, number)


@helper
def same_bytes(one, other, count):
    """Whether `count` bytes at two addresses are equal."""
    while count > 8:
        if load_i64(one) != load_i64(other):
            return False
        one += 8
        other += 8
        count -= 8
    return first_bytes(one, count) == first_bytes(other, count)


@helper
def first_bytes(address, count):
    """Up to eight bytes as one word, without a look at those behind them."""
    if count == 8:
        return load_i64(address)
    if count >= 4:
        return load_u32(address) | load_u32(address + count - 4) << 32
    word = count << 32
    if count > 0:
        word |= load_u8(address) | load_u8(address + (count >> 1)) << 8
        word |= load_u8(address + count - 1) << 16
    return word
