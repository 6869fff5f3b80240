"""DICOM files: pixels by hand, and pydicom's own windowing."""

import numpy as np
import pytest
import torch

from dovision.datasets import _image_io
from dovision.datasets.readers.dicom import dicom_image, window_values
from dovision.io.images import BadFile
from made_medical import write_dicom

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
