from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.datasets import CIFAR10

import dovision
from made_libraries import other_cifar10_formats, write_cifar10


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


def test_each_format_gives_equal_images_and_the_same_fingerprint(root, tmp_path):
    expected = opened(root)
    for name, folder in other_cifar10_formats(root, tmp_path / "others").items():
        data = opened(folder)
        assert torch.equal(data.array, expected.array), name
        assert torch.equal(data.label, expected.label), name
        assert data.fingerprint == expected.fingerprint, name
        assert all(file.is_relative_to(folder.resolve()) for file in data.files), name


def test_a_changed_pixel_or_label_is_another_fingerprint(root, tmp_path):
    folder = other_cifar10_formats(root, tmp_path / "others")["binary"]
    before = opened(folder).fingerprint
    file = folder / "cifar-10-batches-bin" / "test_batch.bin"
    content = bytearray(file.read_bytes())
    for place, value in ((0, 9), (1, content[1] ^ 1)):
        changed = content.copy()
        changed[place] = value
        file.write_bytes(changed)
        assert opened(folder).fingerprint != before


def test_images_encoded_with_loss_are_other_data(root, tmp_path):
    folder = other_cifar10_formats(root, tmp_path / "others")["parquet"]
    before = opened(folder)
    table = pd.read_parquet(folder / "test.parquet")
    table.at[0, "image"] = {**table.at[0, "image"], "bytes": table.at[1, "image"]["bytes"]}
    table.to_parquet(folder / "test.parquet")
    after = opened(folder)
    assert torch.equal(after.array[100], before.array[101])
    assert after.fingerprint != before.fingerprint


def no_test(folder):
    (folder / "test.parquet").unlink()


def other_columns(folder):
    pd.DataFrame({"picture": [1], "label": [1]}).to_parquet(folder / "test.parquet")


def other_label(folder):
    pd.read_parquet(folder / "test.parquet").assign(label=10).to_parquet(folder / "test.parquet")


def no_image(folder):
    pd.DataFrame({"image": [{"bytes": b"text"}], "label": [1]}).to_parquet(folder / "test.parquet")


def no_parquet(folder):
    (folder / "test.parquet").write_text("text")


def no_binary(folder):
    (folder / "cifar-10-batches-bin" / "data_batch_3.bin").unlink()


def cut_binary(folder):
    file = folder / "cifar-10-batches-bin" / "data_batch_3.bin"
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("parquet", no_test, r"test\*.parquet is not in"),
        ("parquet", other_columns, r"must have columns image \(or img\) and label, got picture, label"),
        ("parquet", other_label, "32 x 32 pixels and a label from 0 to 9, got 32 x 32 pixels and 10"),
        ("parquet", no_image, "row 0 of .*test.parquet must have the bytes of an image"),
        ("parquet", no_parquet, "test.parquet must be a parquet file"),
        ("binary", no_binary, "data_batch_3.bin is not in"),
        ("binary", cut_binary, "data_batch_3.bin must hold records of a label from 0 to 9 and 3,072 bytes"),
    ],
)
def test_a_damaged_folder_is_refused(root, tmp_path, name, damage, message):
    folder = other_cifar10_formats(root, tmp_path / "others")[name]
    damage(folder)
    with pytest.raises(ValueError, match=message):
        opened(folder)


@pytest.mark.real
def test_the_real_parquet_files_are_read(real_data):
    data = opened(real_data / "cifar10")
    assert data.label.bincount().tolist() == [6000] * 10
    assert {split: len(data.split(split)) for split in ("train", "val", "test")} == {
        "train": 45000,
        "val": 5000,
        "test": 10000,
    }
