"""FunnyBirds in its published layout: parts, boxes, removals read from files, and what is refused."""

import itertools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from dovision.interventions.counterfactual import Counterfactual
from dovision.types import Batch, Box
from paper.funnybirds import FunnyBirds

PARTS = {"beak": (2, 4, 6, 8), "foot": (20, 8, 26, 12), "wing": (10, 10, 16, 22)}  # top, left, bottom, right
SIZE = 32  # pixels


def picture(seed: int, colour: int, kept, objects: int = 2) -> np.ndarray:
    """A bird of the parts that are kept, before some objects of the background; RGBA."""
    pixels = np.full((SIZE, SIZE, 4), 255, np.uint8)
    pixels[..., :3] = np.random.default_rng(seed).integers(0, 60, (SIZE, SIZE, 3))
    for number in range(objects):
        pixels[28:31, 4 * number : 4 * number + 3, 2] = 200
    pixels[8:18, 8:20, :3] = 120
    for part in kept:
        top, left, bottom, right = PARTS[part]
        pixels[top:bottom, left:right, :3] = (colour, 255 - colour, 30 * len(part))
    return pixels


def write_birds(root: Path, train: int = 6, test: int = 2, subsets: bool = True) -> Path:
    """Two classes of so many pictures each; of the test with all removals of parts, or with those of one part alone.

    The foot of the first test bird is hidden, its removal changes nothing; object 1 of each background can be removed.
    """
    tables = {
        "classes": [{"class_idx": label, "parts": {}} for label in range(2)],
        "parts": {part: [] for part in PARTS},
    }
    for split, count in (("train", train), ("test", test)):
        tables[f"dataset_{split}"] = [
            {"class_idx": label, "bg_objects": "3,1,"} for label in range(2) for _ in range(count)
        ]
        for number, scene in enumerate(tables[f"dataset_{split}"]):
            label, seed = scene["class_idx"], number + (split == "test") * 1000
            hidden = {"foot"} if split == "test" and number == 0 else set()
            shown = set(PARTS) - hidden
            save(root / split / str(label) / f"{number:06d}.png", picture(seed, 200 * label, shown))
            if split == "train":
                continue
            folder = root / "test_interventions" / str(label) / f"{number:06d}"
            for size in range(len(PARTS)) if subsets else [len(PARTS) - 1]:
                for kept in itertools.combinations(PARTS, size):
                    save(folder / f"{'_'.join(['body', *kept])}.png", picture(seed, 200 * label, set(kept) - hidden))
            background = folder / "background_interventions"
            save(background / "1.png", picture(seed, 200 * label, shown, objects=1))
            save(background / "all.png", picture(seed, 200 * label, shown, objects=0))
    for name, table in tables.items():
        (root / f"{name}.json").write_text(json.dumps(table))
    return root


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def opened(root: Path, classes=("0", "1"), size: int = 32, **settings) -> FunnyBirds:
    facts = {"task": "multiclass", "shape": (3, size, size), "val_fraction": 0.34, "seed": 0, **settings}
    return FunnyBirds(str(root), classes=classes, **facts)


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    return write_birds(tmp_path)


def sample_of(images: FunnyBirds, name: str) -> int:
    return images.table("test")["name"].tolist().index(name)


def test_pictures_are_those_of_the_files_without_their_transparency(birds):
    images = opened(birds)
    assert [len(images.split(name)) for name in ("train", "val", "test")] == [8, 4, 4]
    sample = sample_of(images, "test/1/000003.png")
    item = images.split("test")[sample]
    assert int(item.label) == 1
    assert torch.equal(
        (item.image * 255).round().byte(), torch.from_numpy(picture(1003, 200, PARTS)[..., :3]).movedim(2, 0)
    )


def test_boxes_hold_all_that_changes_without_an_object_and_hidden_parts_have_none(birds):
    images = opened(birds)
    for name, seen in (("test/0/000000.png", {"beak", "wing"}), ("test/1/000002.png", set(PARTS))):
        sample = sample_of(images, name)
        boxes = images.boxes("test")
        own = boxes[boxes["sample"] == sample].set_index("object")
        assert set(own.index) == {*seen, "background1"}
        for part in seen:
            assert Box(*own.loc[part, list(Box._fields)].astype(int)) == Box(*PARTS[part])
            assert own.loc[part, "label"] == name.split("/")[1]
        assert pd.isna(own.loc["background1", "label"])
        assert images.objects("test", sample) == tuple(sorted(own.index))
    assert images.boxes("train").empty
    assert images.objects("train", 0) == ()


def test_a_picture_without_parts_is_the_file_without_just_these(birds):
    images = opened(birds)
    sample = sample_of(images, "test/1/000002.png")
    for gone in ({"beak"}, {"beak", "wing"}, set(PARTS)):
        without = torch.from_numpy(picture(1002, 200, set(PARTS) - gone)[..., :3]).movedim(2, 0)
        assert torch.equal((images.counterfactual("test", sample, *gone) * 255).round().byte(), without)
    assert images.has_counterfactual("test", sample, "background1")
    assert not images.has_counterfactual("test", sample, "background1", "beak")
    with pytest.raises(ValueError, match="got beak, background1, without which test/1/000002.png was not drawn"):
        images.counterfactual("test", sample, "beak", "background1")
    with pytest.raises(ValueError, match="object must be one of"):
        images.counterfactual("test", sample, "tail")


@pytest.mark.parametrize(("subsets", "together"), [(True, ("all labelled",)), (False, ())])
def test_parts_are_removed_together_only_where_such_pictures_were_drawn(tmp_path, subsets, together):
    images = opened(write_birds(tmp_path, subsets=subsets))
    intervention = Counterfactual()
    intervention.bind(images, "test")
    units = intervention.units(images.shape)
    assert units == ("beak", "foot", "wing", "background1", *together)
    sample = sample_of(images, "test/1/000003.png")
    item = images.split("test")[sample]
    batch = Batch(*(field.unsqueeze(0) for field in item))
    for number, unit in enumerate(units[:4]):
        assert torch.equal(intervention.images_without(batch, number)[0], images.counterfactual("test", sample, unit))


def test_what_the_layout_does_not_have_is_refused_with_the_remedy(birds):
    with pytest.raises(ValueError, match=r"classes must be what the data say, \['0', '1'\], got \['a', 'b'\]"):
        opened(birds, classes=("a", "b"))
    with pytest.raises(ValueError, match="task must be one of multiclass, got 'multilabel'"):
        opened(birds, task="multilabel")
    with pytest.raises(FileNotFoundError, match=r"nowhere/classes.json is missing. Set dataset.root"):
        opened(birds / "nowhere")
    (birds / "test" / "1" / "000003.png").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 4 are missing, such as .*test/1/000003.png"):
        opened(birds)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("classes.json", "[", r"classes.json must be JSON, got .* Fetch it again"),
        ("classes.json", '[{"class_idx": 1}, {"class_idx": 1}]', "from 0 on, each once, got 1, 1"),
        ("classes.json", '[{"class_idx": 1}, {"class_idx": 2}]', "from 0 on, each once, got 1, 2"),
        ("parts.json", "[1]", r"parts.json must be a JSON dict with entries, got list"),
        ("dataset_test.json", "[{}]", r"dataset_test.json must have a whole number class_idx, got None"),
        ("dataset_test.json", '[{"class_idx": 7}]', "dataset_test.json must have classes below 2, got 7 for"),
    ],
)
def test_a_wrong_table_is_refused(birds, name, content, message):
    (birds / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        opened(birds)


def test_classes_are_those_of_their_numbers_whatever_their_order_in_the_table(birds):
    images = opened(birds)
    table = json.loads((birds / "classes.json").read_text())
    (birds / "classes.json").write_text(json.dumps(table[::-1]))
    again = opened(birds)
    assert again.task == images.task
    assert again.fingerprint == images.fingerprint


def test_a_removal_named_after_an_unknown_part_is_refused(birds):
    save(birds / "test_interventions" / "0" / "000000" / "body_horn.png", picture(0, 0, PARTS))
    with pytest.raises(ValueError, match="body_horn.png must be named after the parts that are left, got horn"):
        opened(birds).boxes("test")
