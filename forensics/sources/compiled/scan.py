"""The loop over the records of a stretch of memory: verified, taken to pieces, put into columns."""

from __future__ import annotations

from forensics.sources.compiled.build import helper, kernel
from forensics.sources.compiled.common_event import take_common_apart
from forensics.sources.compiled.crc import crc32c, crc32c_of_word, masked
from forensics.sources.compiled.event import take_apart
from forensics.sources.compiled.layout import (
    DESCRIPTION,
    FIRST,
    FOLLOWER,
    KIND,
    KNOWN,
    LAST,
    LENGTH,
    METADATA,
    METADATA_END,
    N_SCALARS,
    NUMBER,
    SCALAR,
    START,
    STATE,
    TAG,
    TAG_END,
    VALUE,
    same_bytes,
)
from forensics.sources.compiled.machine import (
    load_f64,
    load_i32,
    load_i64,
    load_u32,
    store_f64,
    store_i32,
    store_i64,
    store_u8,
)
from forensics.sources.compiled.tags import describe, find_or_add

STOPPED, LEFT, ROOM = range(3)
"""Why the loop ended: no sound record follows in these bytes; the next record is sound and left to
pure Python; an array is full."""

_MAX_LENGTH = (1 << 31) - 1

_BASE, _SIZE, _ORIGIN = STATE["BASE"], STATE["SIZE"], STATE["ORIGIN"]
_POSITION, _VERIFIED = STATE["POSITION"], STATE["VERIFIED_LENGTH"]
_N_EVENTS, _N_UNVERIFIED = STATE["N_EVENTS"], STATE["N_UNVERIFIED"]
_N_ROWS, _MAX_ROWS = STATE["N_ROWS"], STATE["MAX_ROWS"]
_ROW_TAG, _ROW_STEP = STATE["ROW_TAG"], STATE["ROW_STEP"]
_ROW_TIME, _ROW_VALUE = STATE["ROW_TIME"], STATE["ROW_VALUE"]
_N_BLOBS, _MAX_BLOBS = STATE["N_BLOBS"], STATE["MAX_BLOBS"]
_BLOB_TAG, _BLOB_KIND = STATE["BLOB_TAG"], STATE["BLOB_KIND"]
_BLOB_STEP, _BLOB_TIME = STATE["BLOB_STEP"], STATE["BLOB_TIME"]
_BLOB_OFFSET, _BLOB_LENGTH = STATE["BLOB_OFFSET"], STATE["BLOB_LENGTH"]
_N_TAGS, _MAX_TAGS, _TAGS = STATE["N_TAGS"], STATE["MAX_TAGS"], STATE["TAGS"]
_STORE, _STORED, _MAX_STORED = STATE["STORE"], STATE["STORED"], STATE["MAX_STORED"]
_LAST_TAG, _VALUES = STATE["LAST_TAG"], STATE["VALUES"]


@helper
def _has_room(state, values, count):
    """Whether all arrays have room for the values of an event."""
    if (
        load_i64(state + _N_ROWS) + count > load_i64(state + _MAX_ROWS)
        or load_i64(state + _N_BLOBS) + count > load_i64(state + _MAX_BLOBS)
        or load_i64(state + _N_TAGS) + count > load_i64(state + _MAX_TAGS)
    ):
        return False
    needed = load_i64(state + _STORED)
    for index in range(count):
        value = values + index * VALUE
        needed += load_i64(value + TAG_END) - load_i64(value + TAG)
        needed += load_i64(value + METADATA_END) - load_i64(value + METADATA)
    return needed <= load_i64(state + _MAX_STORED)


@helper
def _number(state, address, count):
    """Find the number of a tag; what followed the last one before is likely to do so again."""
    last = load_i64(state + _LAST_TAG)
    number = -1
    if last >= 0:
        tags = load_i64(state + _TAGS)
        number = load_i64(tags + last * KNOWN + FOLLOWER)
        if number >= 0:
            tag = tags + number * KNOWN
            if load_i64(tag + LENGTH) != count or not same_bytes(
                load_i64(state + _STORE) + load_i64(tag + START), address, count
            ):
                number = -1
    if number < 0:
        number = find_or_add(state, address, count)
    store_i64(state + _LAST_TAG, number)
    return number


@helper
def _keep(state, value, step, wall_time):
    """Put a value into the columns."""
    start = load_i64(value + TAG)
    number = _number(state, start, load_i64(value + TAG_END) - start)
    tag = load_i64(state + _TAGS) + number * KNOWN
    described = load_i64(value + METADATA_END)
    if described != 0 and load_i64(tag + DESCRIPTION) < 0:
        metadata = load_i64(value + METADATA)
        describe(state, number, metadata, described - metadata)
    kind = load_i64(value + KIND)
    if kind == SCALAR:
        row = load_i64(state + _N_ROWS)
        store_i32(load_i64(state + _ROW_TAG) + 4 * row, number)
        store_i64(load_i64(state + _ROW_STEP) + 8 * row, step)
        store_f64(load_i64(state + _ROW_TIME) + 8 * row, wall_time)
        store_f64(load_i64(state + _ROW_VALUE) + 8 * row, load_f64(value + NUMBER))
        store_i64(tag + N_SCALARS, load_i64(tag + N_SCALARS) + 1)
        store_i64(state + _N_ROWS, row + 1)
    else:
        row, first = load_i64(state + _N_BLOBS), load_i64(value + FIRST)
        offset = load_i64(state + _ORIGIN) + first - load_i64(state + _BASE)
        store_i32(load_i64(state + _BLOB_TAG) + 4 * row, number)
        store_u8(load_i64(state + _BLOB_KIND) + row, kind)
        store_i64(load_i64(state + _BLOB_STEP) + 8 * row, step)
        store_f64(load_i64(state + _BLOB_TIME) + 8 * row, wall_time)
        store_i64(load_i64(state + _BLOB_OFFSET) + 8 * row, offset)
        store_i64(load_i64(state + _BLOB_LENGTH) + 8 * row, load_i64(value + LAST) - first)
        store_i64(state + _N_BLOBS, row + 1)


@kernel("i8(i8)")
def scan(state):
    """Take the records from the position on; returns why it ended."""
    base, size = load_i64(state + _BASE), load_i64(state + _SIZE)
    verified, values = load_i64(state + _VERIFIED), load_i64(state + _VALUES)
    position, n_events, answer = load_i64(state + _POSITION), 0, STOPPED
    while size - position >= 16:
        address = base + position
        length = load_i64(address)
        if length < 0 or length > size - position - 16 or length > _MAX_LENGTH:
            break
        if masked(crc32c_of_word(address)) != load_u32(address + 8):
            break
        first, last = address + 12, address + 12 + length
        if length <= verified and masked(crc32c(first, length)) != load_u32(last):
            break
        count, step, wall_time = take_common_apart(first, last, values)
        if count < 0:
            count, step, wall_time = take_apart(first, last, values)
        if count < 0:
            answer = LEFT
            break
        if not _has_room(state, values, count):
            answer = ROOM
            break
        if length > verified:
            store_i64(state + _N_UNVERIFIED, load_i64(state + _N_UNVERIFIED) + 1)
        for index in range(count):
            _keep(state, values + index * VALUE, step, wall_time)
        n_events += 1
        position += 16 + length
    store_i64(state + _POSITION, position)
    store_i64(state + _N_EVENTS, load_i64(state + _N_EVENTS) + n_events)
    return answer


@kernel("void(i8, i8, i8, i8, i8)")
def group(state, places, steps, times, values):
    """Put the rows in the order of their tags; `places`, where each tag goes on, are moved."""
    tags, row_step = load_i64(state + _ROW_TAG), load_i64(state + _ROW_STEP)
    row_time, row_value = load_i64(state + _ROW_TIME), load_i64(state + _ROW_VALUE)
    for row in range(load_i64(state + _N_ROWS)):
        at = places + 8 * load_i32(tags + 4 * row)
        place = load_i64(at)
        store_i64(at, place + 8)
        store_i64(steps + place, load_i64(row_step + 8 * row))
        store_f64(times + place, load_f64(row_time + 8 * row))
        store_f64(values + place, load_f64(row_value + 8 * row))
