"""The protocol of FunnyBirds on birds of four pixels, worked by hand.

beak . . . foot . . .      the logit of class a is 4 beak + 3 foot + 2 tail + 1 wing + 1 object 1 + .1 object 0,
. . . . . . . .            that of b beak + foot + 1.5, that of c tail + wing; b has the beak and foot of a, c its
tail . . . wing . . .      tail and wing
1 . . . . . . 0            objects of the background
"""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch

import dovision as dv
from dovision.evaluation.part_protocol import PartProtocol
from dovision.store.map_tables import PART_THRESHOLDS
from made_birds import save

PLACES = {"beak": (0, 0), "foot": (0, 4), "tail": (4, 0), "wing": (4, 4), "background0": (7, 7), "background1": (7, 0)}
PARTS = list(PLACES)[:4]
COLOURS = {
    "beak": (255, 255, 0),
    "foot": (255, 0, 1),
    "tail": (0, 0, 255),
    "wing": (0, 255, 2),
    "background0": (204, 204, 204),
    "background1": (204, 204, 205),
}
MODELS = [dict(zip(PARTS, numbers, strict=True)) for numbers in ((0, 0, 0, 0), (0, 0, 1, 1), (1, 1, 0, 0))]
WEIGHTS = {"beak": (4, 1, 0), "foot": (3, 1, 0), "tail": (2, 0, 1), "wing": (1, 0, 1)}
WEIGHTS |= {"background0": (0.1, 0, 0), "background1": (1, 0, 0)}
IMPORTANCE = {"beak": 8, "foot": 4, "tail": 2, "wing": 1, "background0": 1, "background1": 0}  # 16 in all


def draw(colours):
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[..., 3] = 255
    for name, colour in colours.items():
        pixels[PLACES[name]][:3] = colour
    return pixels


def write(root):
    tables = {"classes": [{"class_idx": k, "parts": of} for k, of in enumerate(MODELS)], "parts": dict.fromkeys(PARTS)}
    for split in ("train", "test"):
        tables[f"dataset_{split}"] = [{"class_idx": k, "bg_objects": "3,1,"} for k in range(3) for _ in range(2)]
        for number, scene in enumerate(tables[f"dataset_{split}"]):
            name = f"{scene['class_idx']}/{number:06d}"
            white = dict.fromkeys(PLACES, (255, 255, 255))
            save(root / split / f"{name}.png", draw(white))
            if split == "train":
                continue
            save(root / "test_part_map" / f"{name}.png", draw(COLOURS))
            for count in range(4):
                for kept in itertools.combinations(PARTS, count):
                    shown = {one: white[one] for one in PLACES if one in kept or one.startswith("back")}
                    save(root / "test_interventions" / name / f"{'_'.join(['body', *kept])}.png", draw(shown))
            for one in (0, 1):
                path = root / "test_interventions" / name / "background_interventions" / f"{one}.png"
                save(path, draw({part: white[part] for part in PLACES if part != f"background{one}"}))
    for name, table in tables.items():
        (root / f"{name}.json").write_text(json.dumps(table))
    return root


@pytest.fixture
def root(tmp_path):
    return write(tmp_path)


def map_of(numbers):
    pixels = torch.zeros(8, 8)
    for name, number in numbers.items():
        pixels[PLACES[name]] = number
    return pixels


def scores(root, maps=(), dilation=1):
    """Scores of the first bird of class a; `maps` of other classes than that, by class."""
    birds = dv.component(
        "dataset",
        "funnybirds",
        {"root": str(root), "shape": [3, 8, 8], "classes": ["0", "1", "2"], "val_fraction": 0.5},
    )
    linear = torch.nn.Linear(3 * 64, 3)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.copy_(torch.tensor([0, 1.5, 0]))
        for name, weights in WEIGHTS.items():
            row, column = PLACES[name]
            linear.weight[:, 8 * row + column] = torch.tensor(weights)
    classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), linear), 3)
    protocol = PartProtocol(dilation)
    protocol.bind(birds, "test")
    split = birds.split("test")
    batch = split.batch([next(sample for sample in range(6) if split.batch([sample]).label == 0)])
    maps = dict(maps)
    return protocol.scores(
        map_of(IMPORTANCE).unsqueeze(0),
        protocol.losses(batch, batch.label, classifier),
        lambda row, wanted: maps[wanted],
    )


GOOD = {1: map_of({"beak": 1, "foot": 1}), 2: map_of({"tail": 1, "wing": 1})}
BY = {
    1: PART_THRESHOLDS < 1 / 16,
    2: PART_THRESHOLDS < 2 / 16,
    4: PART_THRESHOLDS < 4 / 16,
    8: PART_THRESHOLDS < 8 / 16,
}


def test_checks_by_threshold_are_those_worked_by_hand(root):
    found = {name: column[0] for name, column in scores(root, GOOD).items()}
    # A set of one of beak and foot, and one of tail and wing, tells a from b and c.
    np.testing.assert_allclose(found["controlled_check"], np.where(BY[2], 1, np.where(BY[8], 0.5, 0)))
    # Without any part a has 1.1 from the background, less than the 1.5 of b; with the beak alone it has 5.1.
    np.testing.assert_array_equal(found["preservation_check"], np.where(BY[8], 1, 0))
    # With the wing alone it has 2.1; only without all four does the class change.
    np.testing.assert_array_equal(found["deletion_check"], np.where(BY[1], 1, 0))
    # Only object 0 costs less than 5 % of 11.1.
    np.testing.assert_array_equal(found["distractibility"], np.where(BY[1], 1, 0))


def test_numbers_without_a_threshold_are_those_worked_by_hand(root):
    found = {name: column[0] for name, column in scores(root, GOOD).items()}
    assert found["part_deletion"] == 1
    assert found["target_sensitivity"] == 1
    assert [found[f"background_{end}"] for end in ("objects", "drawn", "relevant")] == [2, 2, 1]
    blind = map_of({"beak": 1, "foot": 1})
    assert scores(root, {1: blind, 2: blind})["target_sensitivity"] == [0]


def test_a_check_without_its_picture_is_nan_where_it_is_asked_for(root):
    for path in root.glob("test_interventions/0/*/body_wing.png"):
        path.unlink()
    column = scores(root, GOOD)["deletion_check"][0]
    np.testing.assert_array_equal(np.isnan(column), BY[2] & ~BY[1])


def test_without_pictures_of_two_removed_parts_there_is_no_target_sensitivity(root):
    for path in root.glob("test_interventions/0/*/body_beak_foot.png"):
        path.unlink()
    assert scores(root, GOOD)["target_sensitivity"] == [None]


def test_pixels_of_a_part_are_grown(root):
    spread = scores(root, GOOD, dilation=3)["part_deletion"]
    assert spread == [1]
    with pytest.raises(ValueError, match="dilation must be odd, got 2"):
        PartProtocol(2)
