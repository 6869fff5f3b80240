import io
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import dovision
from dovision.datasets.hf_dataset import HfDataset
from made_datasets import hf_parts, images

datasets = pytest.importorskip("datasets")
SHAPE = [3, 20, 24]


@pytest.fixture(autouse=True)
def cached_below(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.getbasetemp() / "hf"))


def opened(root, **settings):
    own = {"root": str(root), "classes": ["cat", "dog"], "shape": SHAPE}
    return dovision.component("dataset", "hf_dataset", {**own, **settings})


def counts(data) -> dict[str, int]:
    return {split: len(data.split(split)) for split in ("train", "val", "test") if data.rows[split]}


def check(data, parts) -> None:
    """All images, labels and groups are those of the library."""
    for split in ("train", "val", "test"):
        for sample, name in enumerate(data.table(split)["name"] if data.rows[split] else ()):
            theirs, number = name.rsplit("-", 1)
            row, item = parts[theirs][int(number)], data.split(split)[sample]
            torch.testing.assert_close(item.image, torch.from_numpy(np.array(row["image"])).permute(2, 0, 1) / 255)
            assert item.label == row["label"]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ({"train": 40}, {"train": 28, "val": 6, "test": 6}),
        ({"train": 20, "test": 6}, {"train": 16, "val": 4, "test": 6}),
        ({"test": 6}, {"test": 6}),
        ({"train": 12, "validation": 4, "test": 6}, {"train": 12, "val": 4, "test": 6}),
    ],
)
def test_a_folder_of_save_to_disk_keeps_its_splits_and_those_that_are_missing_are_cut(tmp_path, made, expected):
    parts = hf_parts(**made)
    parts.save_to_disk(str(tmp_path / "own"))
    data = opened(tmp_path / "own", columns={"group": "patient"})
    assert counts(data) == expected
    check(data, parts)
    assert data.table("test")["group"].nunique() == 3


@pytest.mark.parametrize(
    ("made", "splits", "message", "expected"),
    [
        (
            {"train": 20, "valid": 4, "test": 6},
            {"val": "valid"},
            "got train, validation, test. Set 'dataset.splits={val: valid}', or, to leave them out, 'dataset.spl",
            {"train": 20, "val": 4, "test": 6},
        ),
        (
            {"train": 20, "validation": 6},
            {"val": None, "test": "validation"},
            "splits must be train, val and test, train and test, or test alone, got train, val. Give each image one of",
            {"train": 16, "val": 4, "test": 6},
        ),
    ],
)
def test_splits_of_other_names_are_refused_until_they_are_named(tmp_path, made, splits, message, expected):
    hf_parts(**made).save_to_disk(str(tmp_path / "own"))
    with pytest.raises(ValueError, match=re.escape(message)):
        opened(tmp_path / "own")
    assert counts(opened(tmp_path / "own", splits=splits)) == expected


def test_parquet_files_are_read_one_or_a_folder(tmp_path):
    parts = hf_parts(train=20, test=6)
    for split, part in parts.items():
        part.to_parquet(str(tmp_path / f"{split}-00000-of-00001.parquet"))
    folder = opened(tmp_path)
    assert counts(folder) == {"train": 16, "val": 4, "test": 6}
    check(folder, parts)
    alone = opened(tmp_path / "train-00000-of-00001.parquet")
    assert sum(counts(alone).values()) == 20
    check(alone, parts)


def test_parquet_that_datasets_has_not_written_is_read(tmp_path):
    """Its structs of bytes and paths are images, though no metadata say so; labels are numbers."""
    parts = hf_parts(train=20)
    parts["train"].to_parquet(str(tmp_path / "a.parquet"))
    table = pq.read_table(tmp_path / "a.parquet").replace_schema_metadata(None)
    pq.write_table(table, tmp_path / "a.parquet")
    data = opened(tmp_path / "a.parquet", classes=["0", "1"])
    assert sum(counts(data).values()) == 20
    check(data, parts)


def test_a_single_split_and_labels_of_text_are_read_and_classes_found(tmp_path):
    rows = {"picture": images(20), "kind": ["owl" if row % 2 else "bat" for row in range(20)]}
    features = datasets.Features(picture=datasets.Image(), kind=datasets.Value("string"))
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "own"))
    columns = {"image": "picture", "label": "kind", "group": None}
    data = opened(tmp_path / "own", columns=columns, classes=["owl", "bat"])
    assert torch.cat([data.source(split).label for split in counts(data)]).bincount().tolist() == [10, 10]
    settings = {"root": str(tmp_path / "own"), "config": None, "revision": None, "columns": columns}
    assert HfDataset.found_classes({**settings, "splits": {"train": "train"}}) == ["bat", "owl"]


def test_lists_of_labels_are_multilabel(tmp_path):
    names = datasets.List(datasets.ClassLabel(names=["cat", "dog"]))
    rows = {"image": images(20), "label": [[], [0], [1], [0, 1]] * 5}
    features = datasets.Features(image=datasets.Image(), label=names)
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "own"))
    data = opened(tmp_path / "own", task="multilabel")
    labels = torch.cat([data.source(split).label for split in counts(data)])
    assert labels.sum(0).tolist() == [10, 10]
    with pytest.raises(ValueError, match=r"label in row train-0 of .* must be the name of a class, got ''. Likewise"):
        opened(tmp_path / "own")


def test_a_name_on_the_hub_without_a_network_is_answered_with_the_remedy():
    remedy = r"somebody/nothing is not on this machine.*somebody/nothing.*dataset.root"
    with pytest.raises(ValueError, match=remedy):
        opened("somebody/nothing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": {"image": "img"}}, "columns.image must be one of image, label, patient, got 'img'"),
        ({"columns": {"label": "lable"}}, "got 'lable'. Did you mean label"),
        ({"columns": {"image": "patient"}}, "columns.image must be a column of images, but patient is of Value"),
        ({"columns": {"group": "hospital"}}, "columns.group must be one of image, label, patient"),
        ({"classes": ["cat", "owl"]}, "label in row train-2 of .* must be of the classes cat, owl, got 'dog'."),
        ({"splits": {"train": "a", "val": "b", "test": "c"}}, "splits must name those of the dataset, train, test"),
        ({"splits": {"tset": "test"}}, "splits must be one of train, val, test, got 'tset'"),
        ({"shape": [4, 20, 20]}, "1 .grey. or 3 .RGB. channels"),
        ({"task": "regression"}, "task must be multiclass or multilabel"),
        ({"root": "./nowhere"}, "root must be a folder or file that exists, or a name on the hub, got ./nowhere"),
        ({"root": __file__}, "root must be a file of .parquet or .arrow, got test_hf_dataset.py"),
    ],
)
def test_what_cannot_be_meant_is_refused(change, message, tmp_path):
    root = tmp_path / "own"
    hf_parts(train=40, test=4).save_to_disk(str(root))
    with pytest.raises(ValueError, match=message):
        opened(change.pop("root", root), **change)


def test_a_folder_of_neither_kind_and_a_damaged_image_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"one of parquet or of arrow files, got .* with neither"):
        opened(tmp_path)
    file = io.BytesIO()
    Image.new("RGB", (24, 20)).save(file, "png")
    cells = [{"bytes": file.getvalue()[: 40 if row == 0 else None], "path": None} for row in range(20)]
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]))
    damaged = datasets.Dataset.from_dict({"image": cells, "label": [0, 1] * 10}, features=features)
    damaged.save_to_disk(str(tmp_path / "own"))
    with pytest.raises(ValueError, match="row 0 must have a whole image in 'image', but it is"):
        opened(tmp_path / "own")


def referring(folder, files):
    """A parquet file of 40 rows, of which the even ones name a file each, and the odd ones have bytes."""
    file = io.BytesIO()
    Image.new("RGB", (24, 20)).save(file, "png")
    own = {"bytes": file.getvalue(), "path": "own.png"}
    cells = [own if row % 2 else {"bytes": None, "path": str(files / f"{row}.png")} for row in range(40)]
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]))
    made = datasets.Dataset.from_dict({"image": cells, "label": [0, 1] * 20}, features=features)
    pq.write_table(made.data.table, folder / "train.parquet")
    for row in range(0, 40, 2):
        Image.new("RGB", (24, 20), (row, 0, 0)).save(files / f"{row}.png")
    return folder / "train.parquet"


def test_the_bytes_of_files_that_rows_name_are_part_of_the_content(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    root = referring(tmp_path, files)
    before = opened(root)
    assert opened(root).fingerprint == before.fingerprint
    assert {files / "0.png", root} <= set(before.unread)
    assert files in before.files
    Image.new("RGB", (24, 20), (0, 0, 255)).save(files / "38.png")
    assert opened(root).fingerprint != before.fingerprint
    (files / "38.png").unlink()
    with pytest.raises(ValueError, match=r"must have its bytes in the dataset, or be a file .*1 are not, .*38.png"):
        opened(root)
