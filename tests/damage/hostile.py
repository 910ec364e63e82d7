"""Small files with good checksums and lying fields, by name; each with the slugs that may tell it.

They are built from the specifications: no writer would write them. ``sound`` of an event file's
values is what has to be there all the same.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from forensics.sources.checksum import crc32c
from tests.damage.repairs import masked_crc, record
from tests.damage.specimens import DATA, EVENTS
from tests.sources import event_writer as ew
from tests.sources_checkpoints import encode as bundle

_BIG = (1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 16)
_SHARD = ".data-00000-of-00001"


Content = bytes | Callable[[], bytes]
"""Of a file; a function where it takes time to make."""


@dataclass(frozen=True)
class Hostile:
    """Writes itself into a directory; at least one warning must bear one of the slugs."""

    make: Callable[[Path], None]
    slugs: frozenset[str]


@cache
def hostiles() -> Mapping[str, Hostile]:
    """All of them."""
    return {**_lengths(), **_events(), **_bundles(), **_archives(), **_others()}


def _file(name: str, content: Content) -> Callable[[Path], None]:
    def make(root: Path) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content())

    return make


def _hostile(name: str, content: Content, *slugs: str) -> Hostile:
    return Hostile(_file(name, content), frozenset(slugs))


def _lengths() -> dict[str, Hostile]:
    found = {}
    for size in _BIG:
        field = struct.pack("<Q", size)
        content = ew.VERSION + field + masked_crc(field) + bytes(60)
        slug = "bad_length" if size > 1 << 31 else "bad_length crc_mismatch"
        found[f"record of {size} bytes"] = _hostile(EVENTS, content, *slug.split())
    return found


def _event(*values: bytes) -> bytes:
    return ew.VERSION + record(ew.event(1, values))


def _tensor_value(tensor: bytes, plugin: str = "") -> bytes:
    metadata = ew.bytes_field(9, ew.bytes_field(1, ew.bytes_field(1, plugin.encode())))
    return ew.bytes_field(1, b"t") + ew.bytes_field(8, tensor) + (metadata if plugin else b"")


def _events() -> dict[str, Hostile]:
    """Events whose records verify."""
    one = ew.float_field(5, 1.0)
    shapes = {
        "2**40 elements": (1 << 40,),
        "2**31 elements": (1 << 31,),
        "a product beyond 64 bits": (1 << 32, 1 << 32, 3),
        "a dimension of -4": (-4,),
        "a dimension of -2**63": (-(1 << 63),),
        "rank 300": (1,) * 299 + (2,),
        "rank 100,000": (2,) * 100_000,
    }
    found = {
        f"tensor of {name}": _hostile(EVENTS, _event(_tensor_value(ew.tensor(1, shape, one))),
                                      "bad_tensor", "bad_shape", "limit", "bad_wire")
        for name, shape in shapes.items()
    }  # fmt: skip
    for name, shape in (("2**30 buckets", (1 << 30, 3)), ("2**62 buckets", (1 << 62, 3))):
        value = _tensor_value(ew.tensor(2, shape, ew.double_field(6, 1.0)), "histograms")
        found[f"histogram of {name}"] = _hostile(
            EVENTS, _event(value), "bad_tensor", "bad_shape", "limit", "bad_histogram"
        )
    text = _tensor_value(ew.tensor(7, (1 << 40,), ew.bytes_field(8, b"x")), "text")
    found["text of 2**40 lines"] = _hostile(
        EVENTS, _event(text), "bad_tensor", "bad_shape", "limit"
    )
    limits = ew.bytes_field(6, struct.pack("<2d", 1.0, 2.0)) + ew.bytes_field(7, bytes(80))
    value = ew.bytes_field(1, b"h") + ew.bytes_field(5, limits)
    slugs = ("bad_histogram", "bad_tensor", "bad_wire", "bad_shape", "limit", "bad_hparams")
    found["histogram of unequal lists"] = _hostile(EVENTS, _event(value), *slugs)
    groups = b"\x0b" * 10_000 + b"\x0c" * 10_000
    found["groups 10,000 deep"] = _hostile(EVENTS, ew.VERSION + record(groups), "bad_wire")
    deep = ew.bytes_field(3, b"x")
    for _ in range(2500):
        # google.protobuf.Value that is a list of one Value; its size is one varint of growing width
        deep = ew.bytes_field(6, ew.bytes_field(1, deep))
    entry = ew.bytes_field(1, b"lr") + ew.bytes_field(2, deep)
    session = ew.bytes_field(3, ew.bytes_field(1, entry))
    content = ew.bytes_field(9, ew.bytes_field(1, ew.bytes_field(1, b"hparams") +
                                               ew.bytes_field(2, session)))  # fmt: skip
    value = ew.bytes_field(1, b"_hparams_/session_start_info") + ew.bytes_field(
        8, ew.tensor(1, (0,))
    )
    found["hparams 5,000 deep"] = _hostile(EVENTS, _event(value + content), *slugs)
    found["a field of 2**64 - 1 bytes"] = _hostile(
        EVENTS, ew.VERSION + record(b"\x2a" + b"\xff" * 9 + b"\x01"), "bad_wire"
    )
    found["a gzip bomb"] = _hostile(EVENTS, _bomb, "limit")
    found["gzip in gzip"] = _hostile(EVENTS, _bomb_in_gzip, "crc_mismatch", "bad_length")
    return found


def _bomb() -> bytes:
    return gzip.compress(ew.VERSION + bytes(64 << 20), compresslevel=6, mtime=0)


def _bomb_in_gzip() -> bytes:
    return gzip.compress(gzip.compress(bytes(16 << 20), compresslevel=6, mtime=0), mtime=0)


def _entry(
    dtype: int, shape: tuple[int, ...], offset: int = 0, size: int = 8, shard: int = 0
) -> bytes:
    return bundle.entry(dtype, shape, offset, size, crc32c(bytes(8)), shard=shard)


def _bundles() -> dict[str, Hostile]:
    """Bundles whose blocks and tensors verify."""
    lies = {
        "a dimension of -4": _entry(1, (-4,)),
        "dtype 99": _entry(99, (2,)),
        "dtype -1": _entry(-1, (2,)),
        "rank 300": _entry(1, (1,) * 299 + (2,)),
        "a product beyond 64 bits": _entry(1, (1 << 32, 1 << 32, 3)),
        "2**61 elements": _entry(1, (1 << 61,), 0, (1 << 63) - 4),
        "a size of 2**60": _entry(1, (2,), 0, 1 << 60),
        "an offset of 2**63 - 1": _entry(1, (2,), (1 << 63) - 1),
        "an offset of -8": _entry(1, (2,), -8),
        "shard 10**6": _entry(1, (2,), shard=10**6),
        "shard -1": _entry(1, (2,), shard=-1),
    }
    found = {
        f"bundle entry with {name}": _bundle(bundle.bundle_index([(b"w", entry)]))
        for name, entry in lies.items()
    }
    found["bundle of 2**31 shards"] = _bundle(
        bundle.bundle_index([(b"w", _entry(1, (2,)))], shards=1 << 31)
    )
    found["bundle of 5,000 tensors in one place"] = _bundle(_heap)
    sound = bundle.bundle_index([(b"w", _entry(1, (2,)))])
    for name, handle in (("beyond the file", 1 << 40), ("at 2**63", 1 << 63)):
        footer = (bundle.varint(handle) + bundle.varint(40)) * 2
        tail = footer.ljust(40, b"\0") + struct.pack("<Q", bundle.TABLE_MAGIC)
        found[f"bundle whose blocks lie {name}"] = _bundle(sound[:-48] + tail)
    restarts = struct.pack("<I", 0xFFFFFFFF)
    found["bundle with 2**32 - 1 restarts"] = _bundle(_table_of(restarts.rjust(16, b"\0"), 0))
    for size in (0xFFFFFFFF, 1 << 28):
        packed = bundle.varint(size) + b"\x00x"
        found[f"bundle block that unpacks to {size} bytes"] = _bundle(_table_of(packed, 1))
    found["bundle block of copies of copies"] = _bundle(_table_of(
        bundle.varint(20 << 20) + b"\x00a" + b"\xfe\x01\x00" * (20 << 14), 1))  # fmt: skip
    return found


def _heap() -> bytes:
    entry = _entry(1, (2,))
    return bundle.bundle_index([(b"w%06d" % i, entry) for i in range(5000)])


def _table_of(block: bytes, kind: int) -> bytes:
    """A table whose only data block holds what is given."""
    sealed = block + bytes([kind]) + masked_crc(block + bytes([kind]))
    meta = bundle.block([])
    index = bundle.block([(b"\xff", bundle.varint(0) + bundle.varint(len(block)))])
    footer = bundle.varint(len(sealed)) + bundle.varint(len(meta) - 5)
    footer += bundle.varint(len(sealed) + len(meta)) + bundle.varint(len(index) - 5)
    return sealed + meta + index + footer.ljust(40, b"\0") + struct.pack("<Q", bundle.TABLE_MAGIC)


def _bundle(index: Content) -> Hostile:
    def make(root: Path) -> None:
        _file("ckpt-1.index", index)(root)
        (root / f"ckpt-1{_SHARD}").write_bytes(bytes(8))

    return Hostile(make, frozenset())


def _zip(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            if isinstance(content, bytes):
                archive.writestr(zipfile.ZipInfo(name), content, method)
    return out.getvalue()


def _archives() -> dict[str, Hostile]:
    """`.keras` archives and recorded states whose CRC-32 verify."""
    weights = (DATA / "damage" / "model.weights.h5").read_bytes()
    config = b'{"class_name": "Sequential", "config": {"layers": []}}'
    deep = b"[" * 100_000 + b"]" * 100_000
    keras: dict[str, Content] = {
        "a config.json of 1 GiB": partial(_inflating, "config.json", 1 << 30, weights),
        "weights that inflate to 1 GiB": partial(_inflating, "model.weights.h5", 1 << 30, config),
        "two config.json": _twice(("config.json", config), ("config.json", deep[:20])),
        "two weights": _twice(("model.weights.h5", weights), ("model.weights.h5", weights[:900])),
        "a config.json 100,000 deep": _zip(("config.json", deep), ("model.weights.h5", weights)),
        "30,000 members": _many_members,
        "a member of 2**40 bytes": _lying(_zip(("model.weights.h5", weights), method=0)),
        "a config.json that is a number": _zip(("config.json", b"1" * 5000)),
    }
    found = {
        f"keras archive with {name}": _hostile("model.keras", data) for name, data in keras.items()
    }
    for name, header in {
        "2**40 elements": "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }",
        "a negative size": "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
        "Python objects": "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "a tower of brackets": "(" * 60_000,
        "numbers without end": "{'descr': '<f4', 'shape': (" + "9" * 50_000 + ",), }",
    }.items():
        listed = {"owner": "m", "role": "weight", "place": 0, "path": "w", "dtype": "float32"}
        index = json.dumps({"step": 1, "variables": [listed]}).encode()
        text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({len(index)},), }}"
        state = _zip(("0.npy", _npy(header, bytes(4))), ("index.npy", _npy(text, index)))
        found[f"state with {name}"] = _hostile("flight/state-000000001.npz", state)
    return found


def _many_members() -> bytes:
    return _zip(*((f"m{i}", b"") for i in range(30_000)), method=0)


def _npy(header: str, data: bytes) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def _twice(*members: tuple[str, bytes]) -> bytes:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _zip(*members)


def _inflating(name: str, size: int, rest: bytes) -> bytes:
    """An archive of which one member unpacks to very many zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece, crc = bytes(1 << 20), 0
    block = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = block * (size >> 20) + packer.flush()
    for _ in range(size >> 20):
        crc = zlib.crc32(piece, crc)
    other = "model.weights.h5" if name == "config.json" else "config.json"
    whole = bytearray(_zip((other, rest), (name, packed), method=0))
    sizes = struct.pack("<III", crc, len(packed), size)
    old = struct.pack("<III", zlib.crc32(packed), len(packed), len(packed))
    at = -1
    while (at := whole.find(old, at + 1)) >= 0:
        whole[at : at + 12] = sizes
        # The method stands six bytes before the checksum in both headers.
        whole[at - 6 : at - 4] = struct.pack("<H", zipfile.ZIP_DEFLATED)
    return bytes(whole)


def _lying(archive: bytes) -> bytes:
    """The directory of the archive claims sizes of almost 4 GiB."""
    data = bytearray(archive)
    start = data.rfind(b"PK\x01\x02")
    data[start + 20 : start + 28] = struct.pack("<II", 0xFFFFFFF0, 0xFFFFFFF0)
    return bytes(data)


def _others() -> dict[str, Hostile]:
    """Safetensors, maps of shards, trees."""
    headers = {
        "a header of 2**63 - 1 bytes": struct.pack("<Q", (1 << 63) - 1) + b"{}",
        "a header 30,000 deep": _safetensors('{"a":' * 30_000 + "1" + "}" * 30_000),
        "2**61 elements": _safetensors(_tensor([1 << 61], 0, 4)),
        "a negative dimension": _safetensors(_tensor([-1], 0, 4)),
        "offsets beyond the file": _safetensors(_tensor([1 << 40], 0, 1 << 42)),
        "offsets that go back": _safetensors(_tensor([1], 4, 0)),
        "a dimension that is no integer": _safetensors(_tensor([1.5, "x"], 0, 4)),
        "a number of 5,000 digits": _safetensors('{"a": ' + "9" * 5000 + "}"),
    }
    found = {
        f"safetensors with {name}": _hostile("model.safetensors", data)
        for name, data in headers.items()
    }
    found["map of shards 100,000 deep"] = _hostile(
        "m.weights.json", b'{"weight_map":' * 100_000 + b"1" + b"}" * 100_000
    )
    found["map of shards that leads away"] = _hostile(
        "m.weights.json", json.dumps({"weight_map": {"/a": ["../../etc/passwd"]}}).encode()
    )
    found["links in circles"] = Hostile(_circles, frozenset())
    found["pipes and sockets by every name"] = Hostile(_pipes, frozenset({"denied", "not_regular"}))
    found["a device by the name of a log"] = Hostile(_device, frozenset({"denied"}))
    found["directories by the names of files"] = Hostile(_directories, frozenset())
    found["names that forge lines"] = Hostile(_forged, frozenset({"crc_mismatch"}))
    return found


def _safetensors(header: str) -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + bytes(8)


def _tensor(shape: list[object], first: int, last: int) -> str:
    return json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [first, last]}})


def _circles(root: Path) -> None:
    _file(f"a/{EVENTS}", ew.VERSION + ew.scalars("loss", [1.0]))(root)
    for name in ("loop", "a/up", "a/self"):
        (root / name).symlink_to(root / "a", target_is_directory=True)
    (root / f"a/{EVENTS}.2").symlink_to(root / f"a/{EVENTS}.2")
    (root / f"a/{EVENTS}.3").symlink_to("nowhere")


def _pipes(root: Path) -> None:
    for name in (
        EVENTS, "m.keras", "m.h5", "m.weights.h5", "m.weights.json", "m.safetensors", "c.index",
        f"c{_SHARD}", "trainer_state.json", "metrics.csv", "train.out", "note.ipynb",
        "saved_model.pb", "flight/state-000000001.npz", "flight/batch-1.npz",
        "checkpoint", "_METADATA", "manifest.ocdbt", "x.tfdbg_events.1.metadata",
    ):  # fmt: skip
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)


def _device(root: Path) -> None:
    (root / EVENTS).symlink_to("/dev/zero")
    (root / "m.keras").symlink_to("/dev/zero")


def _directories(root: Path) -> None:
    for name in (
        EVENTS,
        "m.keras",
        "m.h5",
        "m.weights.json",
        "m.safetensors",
        "c.index",
        f"c{_SHARD}",
    ):
        (root / name).mkdir()
    _file(f"{EVENTS}/{EVENTS}", ew.VERSION + ew.scalars("loss", [1.0]))(root)


def _forged(root: Path) -> None:
    name = "\x1b[2J\rverdict: healthy\n\u202e.tfevents"
    _file(name, ew.VERSION + bytes(40))(root)
