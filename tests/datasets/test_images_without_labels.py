"""Images as people have them, without labels: of any size, mode and orientation, in a folder or in a list."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import dovision as dv
from dovision.datasets.image_folder import ImageFolder
from dovision.types import Task

SHAPE = (3, 16, 16)


def pictures(root, shape=SHAPE, **settings) -> ImageFolder:
    root = root if isinstance(root, list) else str(root)
    return dv.component("dataset", "image_folder", {"root": root, "shape": list(shape), **settings})


def half_bright(height=40, width=40, side="top"):
    """A grey picture of which the upper half, or the left one, is white."""
    picture = np.zeros((height, width), np.uint8)
    picture[(slice(height // 2), slice(None)) if side == "top" else (slice(None), slice(width // 2))] = 255
    return Image.fromarray(picture)


def test_a_folder_a_picture_a_list_and_a_file_of_names_are_all_pictures(tmp_path, caplog):
    for name in ("b.png", "a.jpg"):
        half_bright().save(tmp_path / name)
    (tmp_path / "notes.heic").write_text("no picture")
    (tmp_path / ".hidden.png").write_text("no picture")
    (tmp_path / "below").mkdir()
    half_bright(side="left").save(tmp_path / "below" / "a.jpg")
    assert sorted(pictures(tmp_path).table("test")["name"]) == ["a.jpg", "b.png"]
    assert "left out" in caplog.text
    assert "notes.heic" in caplog.text
    assert pictures(tmp_path / "a.jpg").table("test")["name"].tolist() == ["a.jpg"]
    both = pictures([str(tmp_path / "a.jpg"), str(tmp_path / "below" / "a.jpg")])
    assert sorted(both.table("test")["name"]) == [str(tmp_path / "a.jpg"), str(tmp_path / "below" / "a.jpg")]
    (tmp_path / "some.txt").write_text("b.png\n\nbelow/a.jpg\n")
    assert sorted(pictures(tmp_path / "some.txt").table("test")["name"]) == ["a.jpg", "b.png"]


def test_pictures_have_no_labels_and_take_the_classes_of_a_classifier(tmp_path):
    half_bright().save(tmp_path / "a.png")
    half_bright(side="left").save(tmp_path / "b.png")
    dataset = pictures(tmp_path)
    order = dataset.order("test").tolist()
    with pytest.raises(ValueError, match="no classes before a classifier gives them"):
        dataset.task  # noqa: B018
    dataset.take_classes(Task("multilabel", ("cat", "dog")))
    assert dataset.task.classes == ("cat", "dog")
    assert dataset.split("test")[0].label.isnan().tolist() == [True, True]
    assert pictures(tmp_path).split("test")[0].label.item() == -1
    named = pictures(tmp_path, task="multiclass", classes=["cat", "dog", "cow"])
    named.take_classes(Task("multiclass", ("a", "b")))
    assert named.task.classes == ("cat", "dog", "cow")
    assert dataset.fingerprint != named.fingerprint
    assert dataset.order("test").tolist() == named.order("test").tolist() == order


@pytest.mark.parametrize("split", ["train", "val"])
def test_other_splits_are_refused_with_the_remedy(tmp_path, split):
    half_bright().save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=rf"the split test alone, .* got '{split}'. Set evaluation.split=test"):
        pictures(tmp_path).split(split)


def test_a_folder_below_a_folder_without_pictures_is_named(tmp_path):
    (tmp_path / "cat").mkdir()
    with pytest.raises(ValueError, match=r"at least 2 class folders, got \['cat'\]. .* dataset\.root=\S+/cat\."):
        pictures(tmp_path)


def test_images_beside_class_folders_are_measured_where_a_list_names_their_folder(tmp_path):
    for name in ("cat/a.png", "dog/a.png", "b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        half_bright().save(tmp_path / name)
    assert ImageFolder.found_labels({"root": str(tmp_path), "split_folders": {}})
    assert pictures([str(tmp_path)]).table("test")["name"].tolist() == ["b.png"]


@pytest.mark.parametrize("setting", [{"boxes": "boxes.csv"}, {"class_file": "a.txt"}, {"masks": {"folder": "masks"}}])
def test_what_belongs_to_labels_is_refused(tmp_path, setting):
    half_bright().save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="must be null for images without labels"):
        pictures(tmp_path, **setting)


@pytest.mark.parametrize(
    ("root", "message"),
    [
        ("nowhere", "root must be a folder of images, or an image, but there is no .*nowhere"),
        ([], r"root must name images, got \[\]"),
        ("", "root must name images, got ''"),
        (["."], "root must hold at least one image, but . has none"),
        (["a.png", "a.png"], "root must name each image once"),
    ],
)
def test_a_root_without_pictures_is_refused(tmp_path, monkeypatch, root, message):
    monkeypatch.chdir(tmp_path)
    if root != ["."]:
        half_bright().save("a.png")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        pictures(root)


def test_pictures_resized_in_another_way_are_other_data(tmp_path):
    half_bright().save(tmp_path / "a.png")
    cover, named, stretch = (pictures(tmp_path, (3, 8, 12), resize=resize) for resize in (None, "cover", "stretch"))
    assert cover.fingerprint == named.fingerprint != stretch.fingerprint
    assert not torch.equal(cover.split("test")[0].image, stretch.split("test")[0].image)
