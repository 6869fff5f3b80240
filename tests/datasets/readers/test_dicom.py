"""DICOM files and NIfTI volumes: pixels by hand, pydicom's own windowing, and every order and direction of axes."""

import itertools

import numpy as np
import pytest
import torch

from dovision.datasets import _image_io
from dovision.datasets.readers.dicom import dicom_image, window_values
from dovision.datasets.readers.nifti import slice_image, slice_size
from dovision.io.images import BadFile
from made_medical import write_dicom, write_nifti

STORED = np.array([[0, 1000], [2000, 4095]], np.uint16)
SIGNED = np.array([[-1000, 0], [40, 3000]], np.int16)


def read(path, channels=1, window=None, number=None):
    return _image_io.Decoding(window).pixels(path, channels, number)


def test_monochrome1_is_inverted(tmp_path):
    value = read(write_dicom(tmp_path / "a.dcm", STORED, PhotometricInterpretation="MONOCHROME1"))
    torch.testing.assert_close(value[0], torch.from_numpy(1 - STORED / 4095).float())


def test_slope_and_intercept_come_before_the_window(tmp_path):
    tags = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 0.5, "WindowWidth": 2001}
    value = read(write_dicom(tmp_path / "a.dcm", STORED, **tags))  # values -1000, 1000, 3000, 7190 in -1000 to 1000
    torch.testing.assert_close(value[0], torch.tensor([[0.0, 1.0], [1.0, 1.0]]))
    value = read(tmp_path / "a.dcm", window=(1000.5, 4001))  # -1000 to 3000
    torch.testing.assert_close(value[0], torch.tensor([[0.0, 0.5], [1.0, 1.0]]))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_those_of_pydicom(tmp_path, function):
    pixels = pytest.importorskip("pydicom.pixels")
    pydicom = pytest.importorskip("pydicom")
    tags = {"WindowCenter": [40, 600], "WindowWidth": [400, 1500], "VOILUTFunction": function}
    path = write_dicom(tmp_path / "a.dcm", SIGNED, bits=12, **tags)
    file = pydicom.dcmread(path)
    low, high = -2048, 2047
    expected = (pixels.apply_voi_lut(file.pixel_array, file) - low) / (high - low)
    np.testing.assert_allclose(dicom_image(path.read_bytes(), None, None), expected, atol=1e-9)


def test_colours_and_palettes_are_read(tmp_path):
    colours = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20
    value = read(write_dicom(tmp_path / "a.dcm", colours), channels=3)
    torch.testing.assert_close(value, torch.from_numpy(colours / 255).float().permute(2, 0, 1))
    assert read(tmp_path / "a.dcm").shape == (1, 2, 2)


def test_a_file_that_no_decoder_is_there_for_names_the_packages(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    file = pydicom.dcmread(write_dicom(tmp_path / "a", np.zeros((3, 4), np.uint16)))
    file.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLSLossless
    file.PixelData = pydicom.encaps.encapsulate([bytes(100)])
    file["PixelData"].is_undefined_length = True
    file.save_as(tmp_path / "b")
    with pytest.raises(BadFile, match="pixels cannot be decoded .*JPEG-LS.*missing dependencies: .*requires"):
        _image_io.Decoding().pixels(tmp_path / "b", 1)


def test_damaged_files_are_bad(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", STORED)
    whole = path.read_bytes()
    for data, message in (
        (whole[:-3], "pixels cannot be decoded"),
        (b"not dicom", "no readable DICOM file"),
        (b"", "no readable DICOM file"),
    ):
        path.write_bytes(data)
        with pytest.raises(BadFile, match=message):
            read(path)
    with pytest.raises(BadFile, match="window of width 0"):
        window_values(np.zeros(1), 0, 0)
    tags = {"WindowCenter": 40, "WindowWidth": 400, "VOILUTFunction": "CUBIC"}
    with pytest.raises(BadFile, match="CUBIC"):
        read(write_dicom(tmp_path / "a.dcm", STORED, **tags))


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
        slice_image(write_nifti(tmp_path / "b.nii", np.stack([VALUES] * 2, -1)), 0, "axial", None)
    with pytest.raises(BadFile, match="values that are not finite"):
        slice_image(write_nifti(tmp_path / "c.nii", VALUES * np.nan), 0, "axial", None)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadFile, match="cannot be read"):
        slice_image(path, 0, "axial", None)
    path.write_bytes(b"no volume")
    with pytest.raises(BadFile, match="no readable NIfTI file"):
        slice_image(path, 0, "axial", None)
