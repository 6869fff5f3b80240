"""ChestMNIST on small files in MedMNIST's form."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dovision.datasets import _download, chest_mnist
from dovision.datasets._nih_tables import FINDINGS
from dovision.datasets.chest_mnist import ChestMNIST

COUNTS = {"train": 6, "val": 4, "test": 5}


def arrays(pixels: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    found = {}
    for split, count in COUNTS.items():
        found[f"{split}_images"] = random.integers(0, 256, (count, pixels, pixels), dtype=np.uint8)
        found[f"{split}_labels"] = random.integers(0, 2, (count, 14), dtype=np.uint8)
    return found


def open_films(root: Path, classes=FINDINGS, shape=(1, 28, 28), verify=False, download=False) -> ChestMNIST:
    return ChestMNIST(str(root), "multilabel", classes, shape, verify, download)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
@pytest.mark.parametrize(("pixels", "name"), [(28, "chestmnist.npz"), (64, "chestmnist_64.npz")])
def test_images_and_labels_are_the_files(tmp_path, save, pixels, name):
    data = arrays(pixels)
    save(tmp_path / name, **data)
    images = open_films(tmp_path, shape=(3, pixels, pixels))
    for split, count in COUNTS.items():
        batch = next(iter(DataLoader(images.split(split), batch_size=count, num_workers=1)))
        rows = images.table(split)["name"].str.removeprefix(f"{split}-").astype(int).to_numpy()
        expected = torch.from_numpy(data[f"{split}_images"][rows]).unsqueeze(1) / 255
        assert torch.equal(batch.image, expected.expand(-1, 3, -1, -1))
        assert torch.equal(batch.label, torch.from_numpy(data[f"{split}_labels"][rows]).float())
        assert len(pickle.dumps(images.split(split))) < 3000  # bytes: the images stay in their file


def test_each_sample_is_a_group_of_its_own(tmp_path):
    np.savez(tmp_path / "chestmnist.npz", **arrays(28))
    images = open_films(tmp_path)
    groups = [int(item.group) for split in COUNTS for item in images.split(split)]
    assert sorted(groups) == list(range(15))
    assert sorted(images.table("val")["group"]) == ["val-0", "val-1", "val-2", "val-3"]


def test_chosen_classes_are_the_columns_of_their_names(tmp_path):
    data = arrays(28)
    np.savez(tmp_path / "chestmnist.npz", **data)
    source = open_films(tmp_path, classes=["Hernia", "Atelectasis"]).source("test")
    assert source.label.tolist() == data["test_labels"][:, [13, 0]].tolist()


def test_the_fingerprint_is_that_of_the_content_and_not_of_the_compression(tmp_path):
    for folder, save, change in (("a", np.savez, 0), ("b", np.savez_compressed, 0), ("c", np.savez, 1)):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "chestmnist.npz", **{**arrays(28), "test_images": arrays(28)["test_images"] ^ change})
    prints = [open_films(tmp_path / folder).fingerprint for folder in "abc"]
    assert prints[0] == prints[1] != prints[2]


def test_a_file_of_another_checksum_is_refused_unless_it_is_not_verified(tmp_path, monkeypatch):
    np.savez(tmp_path / "chestmnist.npz", **arrays(28))
    with pytest.raises(ValueError, match=r"must have the md5 02c8a6516a18b556561a56cbdd36c4a8, got .*verify=false"):
        open_films(tmp_path, verify=True)
    md5 = hashlib.md5((tmp_path / "chestmnist.npz").read_bytes()).hexdigest()
    monkeypatch.setitem(chest_mnist.PIXEL_FILES, 28, ("chestmnist.npz", md5))
    assert len(open_films(tmp_path, verify=True).split("train")) == 6


def test_a_missing_file_names_its_address_and_is_fetched_if_that_is_allowed(tmp_path, monkeypatch):
    with pytest.raises(
        FileNotFoundError,
        match=r"chestmnist_224.npz is not in .*download=true.*zenodo.org/records/10519652/files/chestmnist_224.npz",
    ):
        open_films(tmp_path, shape=(1, 224, 224))
    monkeypatch.setattr(_download, "fetch", lambda path, address, md5: np.savez(path, **arrays(28)))
    assert len(open_films(tmp_path, download=True).split("val")) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_images": np.zeros((5, 64, 64), np.uint8)}, r"test_images in .* must be an array of uint8, shape \(5,"),
        ({"test_images": np.zeros((4, 28, 28), np.uint8)}, r"test_images .* got uint8 of shape \(4, 28, 28\)"),
        ({"test_labels": np.zeros((5, 13), np.uint8)}, r"test_labels in .* must be an array of uint8, shape \(N, 14\)"),
        ({"test_labels": np.full((5, 14), 2, np.uint8)}, r"must have test labels of zeros and ones"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, change, message):
    np.savez(tmp_path / "chestmnist.npz", **{**arrays(28), **change})
    with pytest.raises(ValueError, match=message):
        open_films(tmp_path).split("test")


def test_a_damaged_file_and_a_size_that_there_is_not_are_refused(tmp_path):
    (tmp_path / "chestmnist.npz").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"chestmnist.npz must be an .npz file with the array train_labels"):
        open_films(tmp_path)
    with pytest.raises(ValueError, match=r"shape must be square, of 28, 64, 128, 224 pixels, got \[1, 96, 96\]"):
        open_films(tmp_path, shape=(1, 96, 96))
