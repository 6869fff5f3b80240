from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

import dovision
from made_libraries import write_cifar10


@pytest.fixture
def root(tmp_path, monkeypatch):
    return write_cifar10(tmp_path, monkeypatch)


def opened(root, **settings):
    return dovision.component("dataset", "cifar10", {"root": str(root), **settings})


def test_images_and_labels_are_torchvisions_own(root):
    data = opened(root)
    library = {"train": CIFAR10(root, train=True), "test": CIFAR10(root, train=False)}
    assert {split: len(data.split(split)) for split in ("train", "val", "test")} == {"train": 90, "val": 10, "test": 20}
    for split in ("train", "val", "test"):
        for sample, name in enumerate(data.table(split)["name"]):
            file, number = name.split("-")
            picture, label = library[file][int(number)]
            item = data.split(split)[sample]
            assert item.label == label
            expected = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
            torch.testing.assert_close(item.image, expected)
    assert data.task.classes[:3] == ("airplane", "automobile", "bird")


def test_val_has_the_same_share_of_each_class(root):
    assert opened(root).source("val").label.bincount().tolist() == [1] * 10


def test_a_changed_file_and_a_missing_one_are_refused(root, tmp_path):
    file = root / CIFAR10.base_folder / "data_batch_2"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=r"must be those that were published, but their checksums differ"):
        opened(root)
    with pytest.raises(ValueError, match=r"cifar-10-python.tar.gz is not in .*dataset.download=true"):
        opened(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("classes", ["cat", "dog"], "classes must be what the data say"),
        ("shape", [3, 64, 64], r"Use 'dataset.shape=\[3,32,32\]'"),
        ("task", "multilabel", "task must be multiclass"),
        ("val_fraction", 1.0, "must be below 1"),
    ],
)
def test_what_the_data_are_not_is_refused(root, key, value, message):
    with pytest.raises(ValueError, match=message):
        opened(root, **{key: value})
