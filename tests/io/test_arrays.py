"""An array is read as it was saved, or refused in a sentence: never followed to where its bytes point."""

from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dovision.io import arrays

ARRAY = np.arange(24, dtype=np.int64).reshape(4, 6)
SHAPE = (None, 6)


def npy(array: np.ndarray, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


def claiming(descr: str, shape: str, data: bytes = b"\0" * 192) -> bytes:
    """An .npy file of any header."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def npz(data: bytes, how: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as archive:
        archive.writestr("a.npy", data)
    return file.getvalue()


def read(path: Path, data: bytes, kind: str) -> np.ndarray:
    if kind == "npy":
        path.write_bytes(data)
        return arrays.npy_memmap(path, np.int64, SHAPE)
    path.write_bytes(npz(data, zipfile.ZIP_DEFLATED if kind == "compressed" else zipfile.ZIP_STORED))
    return arrays.npz_member(path, "a", np.int64, SHAPE)


KINDS = pytest.mark.parametrize("kind", ["npy", "stored", "compressed"])


@KINDS
@pytest.mark.parametrize("array", [ARRAY, np.asfortranarray(ARRAY), ARRAY[:0]], ids=["C", "Fortran", "empty"])
def test_an_array_is_what_was_saved(tmp_path, kind, array):
    assert np.array_equal(read(tmp_path / "a", npy(array), kind), array)


HOSTILE = {
    "objects": npy(np.array([[print] * 6], object), allow_pickle=True),
    "pointers": claiming("'|O'", "(4, 6)"),
    "a record of pointers": claiming("[('x', '|O')]", "(4, 6)"),
    "a subarray of pointers": claiming("('|O', (6,))", "(4,)"),
    "text": npy(np.array([["a"] * 6])),
    "numbers of another type": npy(ARRAY.astype(np.float64)),
    "bytes in the other order": npy(ARRAY.astype(">i8")),
    "another shape": npy(ARRAY.T.copy()),
    "another number of axes": npy(ARRAY.ravel()),
    "more rows than bytes": claiming("'<i8'", "(5, 6)"),
    "fewer rows than bytes": claiming("'<i8'", "(3, 6)"),
    "a million million rows": claiming("'<i8'", "(1000000000000, 6)"),
    "more than any machine has": claiming("'<i8'", "(2**62, 6)".replace("2**62", str(2**62))),
    "negative rows": claiming("'<i8'", "(-4, 6)"),
    "true rows": claiming("'<i8'", "(True, 6)"),
    "code": claiming("__import__('os').mkdir('made')", "(4, 6)"),
    "a deep header": claiming("(" * 50 + ")" * 50, "(4, 6)"),
    "a later version": npy(ARRAY).replace(b"\x93NUMPY\x01", b"\x93NUMPY\x07"),
    "no header": b"",
    "half a header": npy(ARRAY)[:40],
    "half the numbers": npy(ARRAY)[:-60],
    "no array": b"not an array at all" * 20,
}


@KINDS
@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_such_array_is_refused_in_a_sentence(tmp_path, monkeypatch, kind, what):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"hostile.*(must|got)") as caught:
        read(tmp_path / "hostile", HOSTILE[what], kind)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hostile"]


def test_a_stored_array_of_pointers_does_not_end_the_process(tmp_path):
    """In a process of its own, which the old reader ended by following the pointers."""
    (tmp_path / "a.npz").write_bytes(npz(claiming("'|O'", "(4, 6)", b"\x41" * 192)))
    code = "import sys, numpy\nfrom dovision.io import arrays\nfrom pathlib import Path\n"
    code += "arrays.npz_member(Path(sys.argv[1]), 'a', numpy.uint8, (None, 6))"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.npz"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "must be an array of uint8, shape (N, 6), got object of shape (4, 6)" in done.stderr


def test_a_member_of_another_shape_is_refused_before_it_is_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1 << 26, np.uint8))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"must be an array of uint8, shape \(N, 6\), got uint8 of shape"):
        arrays.npz_member(tmp_path / "a.npz", "a", np.uint8, SHAPE)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_flipped_bit_is_never_read(tmp_path, how):
    whole, random = npz(npy(ARRAY), how), np.random.default_rng(0)
    accepted = 0
    for place in random.integers(len(whole), size=200).tolist():
        changed = whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :]
        (tmp_path / "a.npz").write_bytes(changed)
        try:
            assert np.array_equal(arrays.npz_member(tmp_path / "a.npz", "a", np.int64, SHAPE), ARRAY)
            accepted += 1  # the meaning of the bit did not matter, such as the time of the file
        except ValueError as error:
            assert "\n" not in str(error)  # noqa: PT017
    assert accepted < 100


@pytest.mark.parametrize("kind", ["stored", "compressed"])
def test_an_array_over_the_budget_is_not_read(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(arrays, "MAX_BYTES", 191)
    with pytest.raises(ValueError, match="its 192 bytes are more than the 191 that are read of such an array"):
        read(tmp_path / "a", npy(ARRAY), kind)


def test_an_encrypted_or_oddly_compressed_member_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(npz(npy(ARRAY), zipfile.ZIP_BZIP2))
    with pytest.raises(ValueError, match="it is not compressed as np.savez_compressed does it"):
        arrays.npz_member(tmp_path / "a.npz", "a", np.int64, SHAPE)
    data = bytearray(npz(npy(ARRAY)))
    data[6] |= 1  # encrypted, say the local header
    data[data.rindex(b"PK\x01\x02") + 8] |= 1  # and the directory
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npz must be an \.npz file with the array a: .*encrypted"):
        arrays.npz_member(tmp_path / "a.npz", "a", np.int64, SHAPE)


def test_a_missing_member_and_a_damaged_file_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", first=ARRAY)
    with pytest.raises(ValueError, match=r"a.npz must be an .npz file with the array train_images"):
        arrays.npz_member(tmp_path / "a.npz", "train_images", np.int64, SHAPE)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"a.npz must be an .npz file with the array first: File is not a zip file"):
        arrays.npz_member(tmp_path / "a.npz", "first", np.int64, SHAPE)
