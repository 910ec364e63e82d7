"""A batch of any structure is written without pickle and comes back as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.tf


def through_a_file(batch: Any, path: Path) -> Any:
    from forensics.recorder.batches import encode_batch
    from forensics.recorder.files import write_npz
    from forensics.replay.worker.case.batch_file import read_batch

    write_npz(path, encode_batch(batch))
    return read_batch(str(path))


def test_dense_parts_are_named_and_numpy_reads_them(tmp_path: Path) -> None:
    import tensorflow as tf

    batch = ({"a": tf.ones((2, 3)), "b": {"c": np.arange(4)}}, tf.zeros(2), None)
    back = through_a_file(batch, tmp_path / "b.npz")
    assert isinstance(back, tuple) and back[2] is None
    assert isinstance(back[0]["a"], tf.Tensor) and isinstance(back[0]["b"]["c"], np.ndarray)
    np.testing.assert_array_equal(back[0]["b"]["c"], np.arange(4))
    with np.load(tmp_path / "b.npz", allow_pickle=False) as file:
        assert set(file) == {"x/a", "x/b/c", "y", "structure"}
        np.testing.assert_array_equal(file["x/a"], np.ones((2, 3)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "uint8", "int64", "bool"])
def test_every_dtype_keeps_its_bits(tmp_path: Path, dtype: str) -> None:
    import tensorflow as tf

    values = tf.cast(tf.constant([[0, 1, 2], [3, 1, 0]]), dtype)
    back = through_a_file([values, tf.transpose(values)], tmp_path / "b.npz")
    assert isinstance(back, list)
    for one, two in zip(back, [values, tf.transpose(values)], strict=True):
        assert one.dtype == two.dtype
        assert one.numpy().tobytes() == np.ascontiguousarray(two.numpy()).tobytes()


def test_ragged_sparse_and_texts(tmp_path: Path) -> None:
    import tensorflow as tf

    ragged = tf.ragged.constant([[[1.0], [2.0, 3.0]], [], [[4.0]]])
    sparse = tf.sparse.from_dense([[0, 5], [7, 0]])
    texts = tf.constant([["a", "b\0"], ["", "ü"]])
    words = tf.ragged.constant([["x"], ["y", "zz"]])
    numpy = np.array(["one", "two"])
    batch = {"r": ragged, "s": sparse, "t": texts, "w": words, "n": numpy, "k": 3, "e": np.nan}
    back = through_a_file(batch, tmp_path / "b.npz")
    assert back["r"].to_list() == ragged.to_list() and back["r"].ragged_rank == 2
    np.testing.assert_array_equal(tf.sparse.to_dense(back["s"]), [[0, 5], [7, 0]])
    assert back["t"].numpy().tolist() == texts.numpy().tolist()
    assert back["w"].to_list() == words.to_list()
    assert back["n"].tolist() == ["one", "two"]
    assert back["k"] == 3 and np.isnan(back["e"])


def test_scalars_and_empty_arrays(tmp_path: Path) -> None:
    import tensorflow as tf

    back = through_a_file((tf.constant(2.5), np.zeros((0, 4), np.float32)), tmp_path / "b.npz")
    assert back[0].shape == () and float(back[0]) == 2.5
    assert back[1].shape == (0, 4) and back[1].dtype == np.float32


def test_what_needs_pickle_is_refused_by_name() -> None:
    from forensics.recorder.batches import Unrecordable, encode_batch

    with pytest.raises(Unrecordable, match="x holds Python objects"):
        encode_batch((np.array([object()]), 1))
    with pytest.raises(Unrecordable, match="key of type tuple"):
        encode_batch({(1, 2): np.zeros(2)})


def test_large_archives_are_written_by_the_standard_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from forensics.recorder import files

    monkeypatch.setattr(files, "_LARGE", 10)
    arrays = {"a": np.arange(100.0), "b": np.array(7, np.int8), "c": np.zeros((0, 2))}
    files.write_npz(tmp_path / "large.npz", arrays)
    with np.load(tmp_path / "large.npz", allow_pickle=False) as back:
        for name, array in arrays.items():
            np.testing.assert_array_equal(back[name], array)
