"""A mask of an .npz file is read as it was saved, or refused in a sentence: never followed to where its bytes point."""

import io
import zipfile

import numpy as np
import pytest

from dovision.interventions.values import Steering
from dovision.io import mask_files
from dovision.io.mask_files import npz_mask

MASK = np.arange(24).reshape(4, 6) % 3 == 0


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def claiming(descr: str, shape: str, data: bytes = b"\0" * 192) -> bytes:
    """An .npy file of any header."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def npz(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", data)
    return file.getvalue()


@pytest.mark.parametrize("array", [MASK, np.asfortranarray(MASK), MASK[:0]], ids=["C", "Fortran", "empty"])
def test_a_mask_is_what_was_saved(tmp_path, array):
    (tmp_path / "a.npz").write_bytes(npz(npy(array)))
    assert np.array_equal(npz_mask(tmp_path / "a.npz", "a"), array)


HOSTILE = {
    "objects": npy(np.array([[print] * 6], object), allow_pickle=True),
    "pointers": claiming("'|O'", "(4, 6)", b"\x41" * 192),
    "a record of pointers": claiming("[('x', '|O')]", "(4, 6)"),
    "text": npy(np.array([["a"] * 6])),
    "numbers": npy(MASK.astype(np.int64)),
    "three axes": npy(MASK[None]),
    "more rows than bytes": claiming("'|b1'", "(50, 6)"),
    "fewer rows than bytes": claiming("'|b1'", "(3, 6)"),
    "more than any machine has": claiming("'|b1'", f"({2**62}, 6)"),
    "negative rows": claiming("'|b1'", "(-4, 6)"),
    "code": claiming("__import__('os').mkdir('made')", "(4, 6)"),
    "half a header": npy(MASK)[:40],
    "half the numbers": npy(MASK)[:-12],
    "no array": b"not an array at all" * 20,
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_mask_and_no_direction_is_refused_in_a_sentence(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npz").write_bytes(npz(HOSTILE[what]))
    with pytest.raises(ValueError, match=r"a\.npz must be an \.npz file with the bool array a") as caught:
        npz_mask(tmp_path / "a.npz", "a")
    assert "\n" not in str(caught.value)
    if what not in ("numbers", "three axes", "fewer rows than bytes"):
        (tmp_path / "a.npy").write_bytes(HOSTILE[what])
        with pytest.raises(ValueError, match="direction must be finite numbers"):
            Steering("a.npy", 1.0)
    assert {path.name for path in tmp_path.iterdir()} <= {"a.npz", "a.npy"}


def test_a_mask_over_the_budget_and_a_missing_one_are_named(tmp_path, monkeypatch):
    (tmp_path / "a.npz").write_bytes(npz(npy(MASK)))
    with pytest.raises(ValueError, match=r"with the bool array lung \(h, w\): .*no item named"):
        npz_mask(tmp_path / "a.npz", "lung")
    monkeypatch.setattr(mask_files, "PIXELS", 23)
    with pytest.raises(ValueError, match="its 152 bytes are more than the 23 of the largest image"):
        npz_mask(tmp_path / "a.npz", "a")
