"""Tags by number: found by hash, confirmed byte by byte, in the order of first appearance."""

from __future__ import annotations

from forensics.sources.compiled.build import helper, kernel
from forensics.sources.compiled.layout import (
    DESCRIPTION,
    DESCRIPTION_LENGTH,
    FOLLOWER,
    KNOWN,
    LENGTH,
    N_SCALARS,
    START,
    STATE,
    first_bytes,
    same_bytes,
)
from forensics.sources.compiled.machine import copy_bytes, load_i32, load_i64, store_i32, store_i64

_N_TAGS, _TAGS, _SLOTS, _N_SLOTS = (STATE[n] for n in ("N_TAGS", "TAGS", "SLOTS", "N_SLOTS"))
_STORE, _STORED, _SECRET = (STATE[n] for n in ("STORE", "STORED", "SECRET"))
_LAST_TAG, _LAST_DESCRIBED = STATE["LAST_TAG"], STATE["LAST_DESCRIBED"]


@helper
def _hash(address, count, secret):
    """Hash of `count` bytes that whoever does not know the (odd) secret cannot make collide."""
    value = (secret >> 1) ^ (count * secret)
    while count > 0:
        word = load_i64(address) if count >= 8 else first_bytes(address, count)
        value = (value ^ word) * secret
        value ^= (value >> 32) & 0xFFFFFFFF
        address += 8
        count -= 8
    return value


@helper
def _slot(state, address, count):
    """Slot that holds a tag, or the free one that it belongs in."""
    slots, mask = load_i64(state + _SLOTS), load_i64(state + _N_SLOTS) - 1
    tags, store = load_i64(state + _TAGS), load_i64(state + _STORE)
    slot = _hash(address, count, load_i64(state + _SECRET)) & mask
    while True:
        number = load_i32(slots + 4 * slot)
        if number < 0:
            return slot
        tag = tags + number * KNOWN
        if load_i64(tag + LENGTH) == count and same_bytes(
            store + load_i64(tag + START), address, count
        ):
            return slot
        slot = (slot + 1) & mask


@helper
def find_or_add(state, address, count):
    """Find the number of a tag; there must be room for a new one."""
    at = load_i64(state + _SLOTS) + 4 * _slot(state, address, count)
    number = load_i32(at)
    if number < 0:
        number, stored = load_i64(state + _N_TAGS), load_i64(state + _STORED)
        tag = load_i64(state + _TAGS) + number * KNOWN
        store_i32(at, number)
        store_i64(tag + START, stored)
        store_i64(tag + LENGTH, count)
        store_i64(tag + DESCRIPTION, -1)
        store_i64(tag + DESCRIPTION_LENGTH, 0)
        store_i64(tag + FOLLOWER, -1)
        store_i64(tag + N_SCALARS, 0)
        copy_bytes(load_i64(state + _STORE) + stored, address, count)
        store_i64(state + _N_TAGS, number + 1)
        store_i64(state + _STORED, stored + count)
    last = load_i64(state + _LAST_TAG)
    if last >= 0:
        store_i64(load_i64(state + _TAGS) + last * KNOWN + FOLLOWER, number)
    return number


@helper
def describe(state, number, address, count):
    """Keep the first metadata of a tag; equal ones that follow one another are kept once."""
    tags, store = load_i64(state + _TAGS), load_i64(state + _STORE)
    tag, place = tags + number * KNOWN, load_i64(state + _STORED)
    last = load_i64(state + _LAST_DESCRIBED)
    known = last >= 0 and load_i64(tags + last * KNOWN + DESCRIPTION_LENGTH) == count
    if known:
        kept = load_i64(tags + last * KNOWN + DESCRIPTION)
        known = same_bytes(store + kept, address, count)
        if known:
            place = kept
    if not known:
        copy_bytes(store + place, address, count)
        store_i64(state + _STORED, place + count)
        store_i64(state + _LAST_DESCRIBED, number)
    store_i64(tag + DESCRIPTION, place)
    store_i64(tag + DESCRIPTION_LENGTH, count)


@kernel("void(i8)")
def fill_slots(state):
    """Enter all tags into empty slots."""
    tags, store = load_i64(state + _TAGS), load_i64(state + _STORE)
    for number in range(load_i64(state + _N_TAGS)):
        tag = tags + number * KNOWN
        slot = _slot(state, store + load_i64(tag + START), load_i64(tag + LENGTH))
        store_i32(load_i64(state + _SLOTS) + 4 * slot, number)


@kernel("i8(i8, i8, i8, i8, i8)")
def enter(state, address, count, metadata, metadata_length):
    """Find the number of a tag for pure Python; a length of -1 says that it has no metadata."""
    number = find_or_add(state, address, count)
    store_i64(state + _LAST_TAG, number)
    tag = load_i64(state + _TAGS) + number * KNOWN
    if metadata_length >= 0 and load_i64(tag + DESCRIPTION) < 0:
        describe(state, number, metadata, metadata_length)
    return number
