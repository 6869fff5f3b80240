"""Image folders written here, good and bad, and images without labels of any size, mode and orientation."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dovision as dv
from made_datasets import write_folders

SPLITS = ("train", "val", "test")


@pytest.fixture
def folder_of_images(tmp_path: Path) -> Path:
    """Ten PNG files in each of the classes cat and dog, without folders for the splits."""
    write_folders(tmp_path, 30, "patient{pair}-{label}-{number}.png")
    return tmp_path


def open_folder(root: Path, **settings) -> dv.ImageFolder:
    own = {"classes": ["cat", "dog"], "shape": [3, 20, 30], "val_fraction": 0.2, "test_fraction": 0.2}
    return dv.component("dataset", "image_folder", {"root": str(root), **own, **settings})


def into_splits(root: Path) -> None:
    """Move the flat classes below train, val and test."""
    for path in sorted(root.glob("*/*.png")):
        number = int(path.stem.rsplit("-", 1)[1])
        folder = root / SPLITS[max(0, number - 7)] / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / path.name)
    for name in ("cat", "dog"):
        (root / name).rmdir()


def test_each_item_is_its_file_with_the_label_of_its_folder(folder_of_images):
    dataset = open_folder(folder_of_images)
    for name in SPLITS:
        table = dataset.table(name)
        assert set(table["height"]) == {20}
        assert set(table["width"]) == {30}
        for item, path in zip(dataset.split(name), table["name"], strict=True):
            pixels = np.array(Image.open(folder_of_images / path))
            assert torch.equal(item.image, torch.from_numpy(pixels).permute(2, 0, 1) / 255)
            assert item.label == ("cat", "dog").index(path.split("/")[0])


def test_hidden_files_and_folders_are_no_images(folder_of_images):
    before = open_folder(folder_of_images).fingerprint
    (folder_of_images / "cat" / ".DS_Store").write_text("x")
    (folder_of_images / ".cache").mkdir()
    assert open_folder(folder_of_images).fingerprint == before


def test_bad_files_are_left_out_and_counted_if_asked(folder_of_images):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = folder_of_images / "cat" / "cut.jpg"
    Image.fromarray(noise).save(whole)
    whole.write_bytes(whole.read_bytes()[:-500])
    (folder_of_images / "dog" / "empty.png").touch()
    (folder_of_images / "dog" / "text.png").write_text("not an image")
    dataset = open_folder(folder_of_images, on_bad_file="skip")
    assert [line.split(":")[0] for line in dataset.bad_files] == ["cat/cut.jpg", "dog/empty.png", "dog/text.png"]
    assert sum(len(dataset.split(name)) for name in SPLITS) == 20


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"classes": ["cat", "cow"]}, r"\['cat', 'dog'\], got \['cat', 'cow'\]. Use 'dataset.classes=\[cat,dog\]'"),
        ({"shape": [2, 20, 30]}, "shape must have 1 .grey. or 3 .RGB. channels, got"),
        ({"shape": [3, 20.5, 30]}, "shape must be three whole numbers"),
        ({"task": "multilabel"}, "task must be multiclass for an image folder"),
        ({"group": "person[0-9]+"}, "group must match each file's name, but .* does not match cat/patient0-cat-0.png"),
        ({"group": "("}, "group must be a regular expression, got '\\('"),
        ({"on_bad_file": "ignore"}, "on_bad_file must be one of error, skip, got 'ignore'"),
        ({"val_fraction": 0.01}, "each split must have an image, but val has none of 20"),
    ],
)
def test_wrong_arguments_are_refused(folder_of_images, wrong, message):
    with pytest.raises(ValueError, match=message):
        open_folder(folder_of_images, **wrong)


def test_missing_splits_and_a_missing_root_are_named(folder_of_images):
    with pytest.raises(
        (ValueError, FileNotFoundError), match=r"root must be a folder of images, or an image, but .*nowhere"
    ):
        open_folder(folder_of_images / "nowhere")
    into_splits(folder_of_images)
    shutil.rmtree(folder_of_images / "test")
    message = "train and test, test alone, or classes only; test is missing. Make the folder, or name another one"
    with pytest.raises(ValueError, match=message):
        open_folder(folder_of_images)
    (folder_of_images / "train").rename(folder_of_images / "test")
    with pytest.raises(ValueError, match="or test alone, got val, test"):
        open_folder(folder_of_images)


def test_folders_of_splits_by_another_name_are_refused_and_read_once_they_are_named(folder_of_images):
    into_splits(folder_of_images)
    (folder_of_images / "val").rename(folder_of_images / "valid")
    with pytest.raises(ValueError, match=r"got valid. Set 'dataset.split_folders={val: valid}', or, to leave them out"):
        open_folder(folder_of_images)
    read = open_folder(folder_of_images, split_folders={"train": "train", "val": "valid", "test": "test"})
    assert {name.partition("/")[0] for name in read.table("val")["name"]} == {"valid"}
    cut = open_folder(folder_of_images, split_folders={"train": "train", "val": None, "test": "test"})
    assert {name.partition("/")[0] for name in cut.table("val")["name"]} == {"train"}
    for outside in ("../valid", str(folder_of_images.parent)):
        with pytest.raises(
            ValueError, match=r"dataset.split_folders.val must be a folder in .*, got .*Set dataset.root"
        ):
            open_folder(folder_of_images, split_folders={"train": "train", "val": outside, "test": "test"})
    shutil.rmtree(folder_of_images / "valid")
    for name in ("train", "test"):
        (folder_of_images / name).rename(folder_of_images / name.capitalize())
    with pytest.raises(ValueError, match=r"got Test, Train. Set 'dataset.split_folders={train: Train, test: Test}'"):
        open_folder(folder_of_images)


def test_classes_are_found_in_the_folders_where_the_command_names_none(folder_of_images):
    assert dv.ImageFolder.found_classes({"root": str(folder_of_images), "split_folders": {}}) == ["cat", "dog"]


def test_boxes_and_masks_lie_in_a_table_and_a_folder_beside_the_classes(folder_of_images):
    (folder_of_images / "masks").mkdir()
    (folder_of_images / "test").mkdir()
    for name in ("cat", "dog"):
        (folder_of_images / name).rename(folder_of_images / "test" / name)
    boxes = ["path,label,left,top,right,bottom"]
    for path in sorted(folder_of_images.glob("test/*/*.png")):
        mask = np.zeros((20, 30), np.uint8)
        mask[2:8, 5:10] = 1
        Image.fromarray(mask).save(folder_of_images / "masks" / path.name)
        boxes.append(f"{path.relative_to(folder_of_images)},{path.parent.name},5,2,10,8")
    (folder_of_images / "boxes.csv").write_text("\n".join(boxes))
    masks = {"folder": "masks", "units": {"ear": 1}}
    dataset = open_folder(folder_of_images, boxes="boxes.csv", masks=masks)
    own, box = dataset.masks("test", 3)["ear"], dataset.boxes("test").iloc[3]
    assert own.sum() == 30
    assert own[2:8, 5:10].all()
    assert box[["top", "left", "bottom", "right"]].tolist() == [2, 5, 8, 10]
    Image.fromarray(mask[:10]).save(folder_of_images / "masks" / "patient0-cat-0.png")
    with pytest.raises(
        ValueError, match=r"mask in row test/cat/patient0-cat-0.png of .* of its image's aspect, 20 x 30"
    ):
        open_folder(folder_of_images, masks=masks)


SHAPE = (3, 16, 16)


def pictures(root, shape=SHAPE, **settings) -> dv.ImageFolder:
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


def test_pictures_have_no_labels_and_take_the_classes_of_a_classifier(tmp_path):
    half_bright().save(tmp_path / "a.png")
    half_bright(side="left").save(tmp_path / "b.png")
    dataset = pictures(tmp_path)
    order = dataset.order("test").tolist()
    with pytest.raises(ValueError, match="no classes before a classifier gives them"):
        dataset.task  # noqa: B018
    dataset.take_classes(dv.Task("multilabel", ("cat", "dog")))
    assert dataset.task.classes == ("cat", "dog")
    assert dataset.split("test")[0].label.isnan().tolist() == [True, True]
    assert pictures(tmp_path).split("test")[0].label.item() == -1
    named = pictures(tmp_path, task="multiclass", classes=["cat", "dog", "cow"])
    named.take_classes(dv.Task("multiclass", ("a", "b")))
    assert named.task.classes == ("cat", "dog", "cow")
    assert dataset.fingerprint != named.fingerprint
    assert dataset.order("test").tolist() == named.order("test").tolist() == order


@pytest.mark.parametrize(
    ("root", "settings", "message"),
    [
        ("nowhere", {}, "root must be a folder of images, or an image, but there is no .*nowhere"),
        ([], {}, r"root must name images, got \[\]"),
        ("", {}, r"root must name images, got \[''\]"),
        (["below"], {}, "root must hold at least one image, but below has none"),
        (["a.png", "a.png"], {}, "root must name each image once"),
        (".", {"boxes": "boxes.csv"}, "must be null for images without labels"),
        (".", {"masks": {"folder": "masks"}}, "must be null for images without labels"),
    ],
)
def test_a_root_without_pictures_and_what_belongs_to_labels_are_refused(tmp_path, monkeypatch, root, settings, message):
    monkeypatch.chdir(tmp_path)
    half_bright().save("a.png")
    Path("below").mkdir()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        pictures(root, **settings)
