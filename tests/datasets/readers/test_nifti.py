"""NIfTI volumes written by nibabel, stored along every order and direction of their axes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from dovision.datasets import _image_io
from dovision.datasets.readers.nifti import slice_image, slice_size
from dovision.io.images import BadFile
from made_medical import write_nifti

VALUES = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)  # to the right, the front, the head
SLICES = {  # the front or the head at the top, the patient's right side, or the front, on the left
    "axial": [[[VALUES[x, y, z] for x in (1, 0)] for y in (2, 1, 0)] for z in range(4)],
    "coronal": [[[VALUES[x, y, z] for x in (1, 0)] for z in (3, 2, 1, 0)] for y in range(3)],
    "sagittal": [[[VALUES[x, y, z] for y in (2, 1, 0)] for z in (3, 2, 1, 0)] for x in range(2)],
}


@pytest.mark.parametrize("plane", SLICES)
@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_a_slice_looks_alike_however_the_volume_is_stored(tmp_path, plane, order):
    for number_of_flips, flips in enumerate(((), (0,), (1, 2))):
        stored = np.flip(VALUES.transpose(order), flips) if flips else VALUES.transpose(order)
        affine = np.zeros((4, 4))
        affine[3, 3] = 1
        for axis, patient in enumerate(order):
            affine[patient, axis] = -1 if axis in flips else 1
        path = write_nifti(tmp_path / f"{number_of_flips}.nii", np.ascontiguousarray(stored), affine)
        for number, expected in enumerate(np.array(SLICES[plane])):
            np.testing.assert_allclose(slice_image(path, number, plane, None), expected / 23)
            assert slice_size(path, number, plane) == expected.shape


def test_a_window_replaces_the_range_and_gzip_is_read(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", VALUES)
    value = _image_io.Decoding((10.5, 11)).pixels(path, 3, 0)
    assert value.shape == (3, 3, 2)
    expected = np.clip((np.array(SLICES["axial"][0]) - 10) / 10 + 0.5, 0, 1)
    torch.testing.assert_close(value[0], torch.from_numpy(expected).float())


def test_bad_volumes_and_slices_are_refused(tmp_path):
    path = write_nifti(tmp_path / "a.nii", VALUES)
    with pytest.raises(BadFile, match="volume of 4 axial slices, and an image has one: name it in a table's column"):
        slice_image(path, None, "axial", None)
    with pytest.raises(BadFile, match="volume of 3 coronal slices, 0 to 2, without slice 3"):
        slice_image(path, 3, "coronal", None)
    with pytest.raises(BadFile, match=r"shape \(2, 3, 4, 2\), and a volume has three axes"):
        slice_size(write_nifti(tmp_path / "b.nii", np.stack([VALUES] * 2, -1)), 0, "axial")
    with pytest.raises(BadFile, match="values that are not finite"):
        slice_image(write_nifti(tmp_path / "c.nii", VALUES * np.nan), 0, "axial", None)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadFile, match="cannot be read"):
        slice_image(path, 0, "axial", None)
    path.write_bytes(b"no volume")
    with pytest.raises(BadFile, match="no readable NIfTI file"):
        slice_image(path, 0, "axial", None)
