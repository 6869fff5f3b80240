"""Arrays in files: mapped where they can be, read once where not."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from dovision.io.arrays import FileArray

ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def test_an_npy_file_and_a_stored_member_are_memory_mapped(tmp_path):
    np.save(tmp_path / "a.npy", ARRAY)
    np.savez(tmp_path / "a.npz", first=ARRAY * 2, second=np.asfortranarray(ARRAY))
    for member in (None, "second"):
        source = FileArray(tmp_path / ("a.npz" if member else "a.npy"), np.uint8, (2, 3, 4), member)
        assert isinstance(source.array, np.memmap)
        assert np.array_equal(source.array, ARRAY)


def test_a_compressed_member_is_read_once(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", first=ARRAY)
    source = FileArray(tmp_path / "a.npz", np.uint8, (2, 3, 4), "first")
    assert np.array_equal(source.array, ARRAY)
    assert source.array is source.array


def test_a_pickle_holds_the_path_and_not_the_array(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(100_000))
    source = FileArray(tmp_path / "a.npy", np.float64, (None,))
    assert source.array.shape == (100_000,)
    assert len(pickle.dumps(source)) < 1000
    assert pickle.loads(pickle.dumps(source)).array.shape == (100_000,)


def test_a_missing_member_and_a_damaged_file_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", first=ARRAY)
    with pytest.raises(ValueError, match=r"a.npz must be an .npz file with the array train_images"):
        FileArray(tmp_path / "a.npz", np.uint8, (2, 3, 4), "train_images").array.shape  # noqa: B018
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[:100])
    with pytest.raises(ValueError, match=r"a.npz must be an .npz file with the array first: File is not a zip file"):
        FileArray(tmp_path / "a.npz", np.uint8, (2, 3, 4), "first").array.shape  # noqa: B018
