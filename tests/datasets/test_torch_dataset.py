"""Map-style datasets by their classes, against the libraries' own items."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from torch.utils.data import Dataset

import dovision as dv
from made_datasets import idx, write_folders, write_mnist


def opened(target: str, settings=None, **arguments):
    source = {"_target_": target, **arguments}
    return dv.component("dataset", "torch_dataset", {"source": source, **(settings or {})})


@pytest.fixture
def mnist_root(tmp_path: Path) -> Path:
    """12 training images unzipped, 5 test images gzipped."""
    write_mnist(tmp_path)
    for path in tmp_path.glob("MNIST/raw/t10k*"):
        path.with_suffix(".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return tmp_path


def mnist(root: Path, val_images: int = 3):
    return dv.component("dataset", "mnist", {"root": str(root), "val_images": val_images})


def test_mnist_is_what_torchvision_reads(mnist_root):
    dataset = mnist(mnist_root)
    for path in mnist_root.glob("MNIST/raw/*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    numbers = []
    for split, train in (("train", True), ("val", True), ("test", False)):
        library = torchvision.datasets.MNIST(mnist_root, train)
        for item, name in zip(dataset.split(split), dataset.table(split)["name"], strict=True):
            prefix, number = name.split("-")
            assert prefix == ("train" if train else "test")
            assert torch.equal(item.image[0], library.data[int(number)] / 255)
            assert item.label == library.targets[int(number)]
            assert item.group == int(number) + (0 if train else 12)
            numbers.append(int(item.group))
    assert sorted(numbers) == list(range(17))
    assert len(dataset.split("val")) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: (raw / "train-images-idx3-ubyte").unlink(), "root must hold train-images-idx3-ubyte, gzipped or"),
        (lambda raw: (raw / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03"), "must be a whole IDX file of"),
        (
            lambda raw: (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(3, np.uint8))),
            "must have a label for each image, got 3 for 12",
        ),
        (
            lambda raw: (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.full(12, 11, np.uint8))),
            "label in row 0 of MNIST must be of the classes 0, 1, .*, got '11'",
        ),
    ],
)
def test_wrong_idx_files_are_refused(mnist_root, change, message):
    change(mnist_root / "MNIST" / "raw")
    with pytest.raises(ValueError, match=message):
        mnist(mnist_root)


def test_too_many_images_for_val_are_refused(mnist_root):
    with pytest.raises(ValueError, match="val_images must be below 12, the number of training images, got 12"):
        mnist(mnist_root, val_images=12)


def test_classes_and_channels_are_those_of_the_dataset(tmp_path):
    write_folders(tmp_path)
    settings = {"root": str(tmp_path), "shape": [None, 20, 20]}
    dataset = opened("torchvision.datasets.ImageFolder", settings)
    assert dataset.task.classes == ("cat", "dog")
    assert dataset.shape == (3, 20, 20)
    other = opened("torchvision.datasets.ImageFolder", settings | {"classes": ["dog", "cat"]})
    assert torch.equal(other.labels, 1 - dataset.labels)  # the classes' order is the network's


class Films(Dataset):
    """As torchxrayvision has them: mappings, films in [-1024, 1024], labels with nan, patients in a table."""

    def __init__(self, count: int = 12, shift: float = 0.0) -> None:
        self.pathologies = ["Mass", "Edema", "Hernia"]
        self.labels = np.array([[number % 2, number % 3 == 0, np.nan] for number in range(count)], np.float32)
        self.csv = pd.DataFrame({"patientid": [number // 2 for number in range(count)]})
        self.shift = shift

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int):
        film = np.full((1, 8, 8), -1024 + 128 * number + self.shift, np.float32)
        return {"idx": number, "lab": self.labels[number], "img": film}


FILMS = {"task": "multilabel", "classes": ["Edema", "Mass"], "shape": [3, 8, 8], "values": [-1024, 1024]}


def test_films_of_a_users_class_have_their_range_their_labels_and_their_patients():
    dataset = opened(
        f"{__name__}.Films", FILMS | {"group": "csv.patientid", "val_fraction": 0.25, "test_fraction": 0.25}
    )
    groups = {}
    for split in ("train", "val", "test"):
        for item, name in zip(dataset.split(split), dataset.table(split)["name"], strict=True):
            number = int(name.removeprefix("train-"))
            torch.testing.assert_close(item.image, torch.full((3, 8, 8), number / 16))
            assert item.label.tolist() == [number % 3 == 0, number % 2]
        groups[split] = set(dataset.table(split)["group"])
    assert sum(map(len, groups.values())) == len(set.union(*groups.values())) == 6
    other = opened(f"{__name__}.Films", FILMS | {"group": "csv.patientid"}, shift=1.0)
    again = opened(f"{__name__}.Films", FILMS | {"group": "csv.patientid"})
    same = opened(f"{__name__}.Films", FILMS | {"group": "csv.patientid"})
    assert again.fingerprint == same.fingerprint != other.fingerprint  # by the pixels, where there are no files


@pytest.mark.parametrize(
    ("target", "settings", "message"),
    [
        (f"{__name__}.Films", {"group": "csv.patient"}, "group must be an attribute of the dataset, got 'csv.patient'"),
        (f"{__name__}.Films", {"splits": {"train": {"size": 3}}}, "source must make a dataset with a length, got"),
        (f"{__name__}.Films", {"classes": ["a", "b", "c", "d"]}, r"labels must be of shape \(N, 4\) for multilabel"),
        ("builtins.dict", {}, "labels must be of shape"),
    ],
)
def test_a_wrong_dataset_is_refused_in_a_sentence(target, settings, message):
    with pytest.raises(ValueError, match=message):
        opened(target, FILMS | settings)
