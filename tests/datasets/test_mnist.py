"""MNIST on the real files, on small ones written here, and against torchvision's reader."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets.mnist import read_image_file, read_label_file

from dovision.datasets import _download
from dovision.datasets.mnist import MNIST
from made_datasets import idx

NAMES = [str(digit) for digit in range(10)]
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def open_mnist(root: Path, classes=NAMES, shape=(1, 28, 28), val_images=3, seed=0, download=False) -> MNIST:
    return MNIST(str(root), "multiclass", classes, shape, val_images, seed, download)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """The folder of a small MNIST: 12 training images unzipped, 5 test images gzipped."""
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for stem, count in (("train", 12), ("t10k", 5)):
        files = {
            f"{stem}-images-idx3-ubyte": random.integers(0, 256, (count, 28, 28), dtype=np.uint8),
            f"{stem}-labels-idx1-ubyte": random.integers(0, 10, count, dtype=np.uint8),
        }
        for name, array in files.items():
            if stem == "train":
                (folder / name).write_bytes(idx(array))
            else:
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    return folder


def test_images_and_labels_are_those_of_torchvisions_reader(raw, tmp_path):
    dataset = open_mnist(tmp_path)
    image, label = read_image_file(str(raw / IMAGES)), read_label_file(str(raw / LABELS))
    seen = []
    for name, count in (("train", 9), ("val", 3)):
        split, table = dataset.split(name), dataset.table(name)
        assert len(split) == count
        for item, source in zip(split, table["name"], strict=True):
            row = int(source.removeprefix("train-"))
            seen.append(row)
            assert torch.equal(item.image[0], image[row] / 255)
            assert item.label == label[row]
            assert item.group == row
    assert sorted(seen) == list(range(12))
    assert len(dataset.split("test")) == 5
    assert sorted(int(item.group) for item in dataset.split("test")) == [12, 13, 14, 15, 16]


def test_zipped_and_unzipped_files_are_the_same_dataset_and_nothing_is_written(raw, tmp_path):
    before = open_mnist(tmp_path).fingerprint
    for path in raw.glob("train-*"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    names = sorted(path.name for path in raw.iterdir())
    assert open_mnist(tmp_path).fingerprint == before
    assert sorted(path.name for path in raw.iterdir()) == names
    assert open_mnist(tmp_path, seed=1).fingerprint != before


def test_a_missing_file_names_its_address_checksum_and_folder(raw, tmp_path):
    (raw / IMAGES).unlink()
    message = rf"{IMAGES}.gz is not in {raw}.*download=true.*https://.*{IMAGES}.gz \(md5 f68b3c2d\w+\) into {raw}"
    with pytest.raises(FileNotFoundError, match=message):
        open_mnist(tmp_path)


def test_a_missing_file_is_fetched_if_that_is_allowed(raw, tmp_path, monkeypatch):
    archive = gzip.compress((raw / IMAGES).read_bytes())
    before = open_mnist(tmp_path).fingerprint
    (raw / IMAGES).unlink()

    def fetch(path, address, md5):
        assert address.endswith(f"{IMAGES}.gz")
        assert md5 == "f68b3c2dcbeaaa9fbdd348bbdeb94873"
        path.write_bytes(archive)

    monkeypatch.setattr(_download, "fetch", fetch)
    assert open_mnist(tmp_path, download=True).fingerprint == before


def test_a_failed_download_says_how_to_fetch_by_hand(raw, tmp_path, monkeypatch):
    (raw / IMAGES).unlink()

    def fail(path, address, md5):
        raise OSError("no route")

    monkeypatch.setattr(_download, "fetch", fail)
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded: no route.*By hand: fetch https://.*md5"):
        open_mnist(tmp_path, download=True)


def spoil(path: Path, change) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (IMAGES, lambda data: data[:-1], r"train-images-idx3-ubyte in .* must be a whole IDX file of bytes with 3"),
        (IMAGES, lambda data: data[:6], r"must be a whole IDX file of bytes with 3 axes, got something else"),
        (IMAGES, lambda data: b"", r"must be a whole IDX file of bytes with 3 axes"),
        (LABELS, lambda data: b"\0\0\x08\x03" + data[4:], r"train-labels-idx1-ubyte in .* whole IDX file .* 1 axes"),
        (LABELS, lambda data: idx(np.zeros(11, np.uint8)), r"a label for each image of .*, got 11 for 12"),
        (LABELS, lambda data: idx(np.full(12, 10, np.uint8)), r"classes must name each label .* 10 names and a label"),
        ("t10k-images-idx3-ubyte.gz", lambda data: data[:-9], r"t10k-images-idx3-ubyte.gz must be a whole gzip file"),
        ("t10k-labels-idx1-ubyte.gz", lambda data: b"<html>", r"must be a whole gzip file: Not a gzipped file"),
    ],
)
def test_a_wrong_or_truncated_file_is_named(raw, tmp_path, name, change, message):
    spoil(raw / name, change)
    with pytest.raises(ValueError, match=message):
        open_mnist(tmp_path)


def test_facts_that_the_files_contradict_are_refused(raw, tmp_path):
    with pytest.raises(ValueError, match=r"shape must be what the data say, \[1, 28, 28\], got \[1, 32, 32\]"):
        open_mnist(tmp_path, shape=(1, 32, 32))
    with pytest.raises(ValueError, match="val_images must be below 12, the number of training images, got 12"):
        open_mnist(tmp_path, val_images=12)


@pytest.mark.slow
@pytest.mark.real
def test_the_real_files_hold_seventy_thousand_digits_and_a_seven_that_is_test_0(real_data):
    dataset = open_mnist(real_data / "mnist", val_images=5000)
    sizes = {name: len(dataset.split(name)) for name in ("train", "val", "test")}
    assert sizes == {"train": 55000, "val": 5000, "test": 10000}
    (sample,) = np.flatnonzero(dataset.table("test")["name"] == "test-0")
    first = dataset.split("test")[sample]
    assert first.label == 7
    assert first.image.sum() * 255 == pytest.approx(18454)  # the sum of that digit's bytes
