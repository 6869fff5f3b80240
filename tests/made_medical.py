"""DICOM files and NIfTI volumes written by pydicom and nibabel, with pixels that are known."""

from pathlib import Path

import numpy as np
import pytest


def write_dicom(path: Path, pixels: np.ndarray, bits: int = 12, **tags) -> Path:
    """A secondary capture without compression; `tags` are added or replaced, None removes one."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    colours = pixels.ndim == 3 and pixels.shape[-1] == 3
    frames = pixels.ndim == 3 and not colours
    file.Rows, file.Columns = pixels.shape[1:] if frames else pixels.shape[:2]
    if frames:
        file.NumberOfFrames = len(pixels)
    file.SamplesPerPixel = 3 if colours else 1
    if colours:
        file.PlanarConfiguration = 0
    file.PhotometricInterpretation = "RGB" if colours else "MONOCHROME2"
    file.BitsAllocated = 8 * pixels.dtype.itemsize
    file.BitsStored = 8 if pixels.dtype.itemsize == 1 else bits
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in tags.items():
        if value is None:
            delattr(file, name)
        else:
            setattr(file, name, value)
    file.PixelData = pixels.tobytes()
    file.save_as(path, enforce_file_format=True)
    return path


def write_nifti(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """A volume, shape (x, y, z), whose axes run to the right, the front and the head unless the affine has it else."""
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    return path
