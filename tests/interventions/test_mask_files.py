"""Masks in files beside images: read, fitted as the images are, painted, and refused where they do not fit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dovision
from dovision.datasets.image_folder import ImageFolder
from dovision.interventions.activation import Activation
from dovision.interventions.fills import Constant
from dovision.interventions.joint import Joint
from dovision.interventions.mask_files import MaskFiles, check_units
from dovision.types import OUTSIDE
from made_tables import open_table, write_table

BLACK = Constant(0.0)
CLASSES = ("cat", "dog")


@pytest.fixture
def pictures(tmp_path: Path) -> ImageFolder:
    """Images of 24 x 36 pixels, of which the dataset takes the middle as 8 x 8: each is half white, half black."""
    image = np.zeros((24, 36), dtype=np.uint8)
    image[:, 18:] = 255
    for split in ("train", "val", "test"):
        for name in CLASSES:
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(2):
                Image.fromarray(image).save(folder / f"{name}{number}.png")
    facts = {"root": str(tmp_path / "images"), "classes": CLASSES, "shape": (1, 8, 8), "copies": "warn"}
    return dovision.component("dataset", "image_folder", facts)


def right_half(height: int, width: int, value: int = 255) -> Image.Image:
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[:, width // 2 :] = value
    return Image.fromarray(mask)


def save(root: Path, pattern: str, images: ImageFolder, mask: Image.Image) -> Path:
    for name in images.table("test")["name"]:
        path = root / pattern.format(stem=Path(name).stem, folder=Path(name).parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        mask.save(path)
    return root


def bound(root: Path, images, units=None, **more) -> MaskFiles:
    intervention = MaskFiles(str(root), {"right": 255} if units is None else units, BLACK, **more)
    intervention.bind(images, "test")
    return intervention


@pytest.mark.parametrize("size", [(24, 36), (48, 72), (8, 12), (8, 8)])
@pytest.mark.parametrize("pattern", ["{stem}.png", "{folder}/{stem}_mask.png"])
def test_a_mask_lies_on_the_pixels_that_it_marks_in_its_image(pictures, tmp_path, size, pattern):
    root = save(tmp_path / "masks", pattern, pictures, right_half(*size))
    intervention = bound(root, pictures, files=pattern)
    for sample in range(4):
        assert intervention.region(pictures.shape, 0, sample) == (0, 4, 8, 8)
        assert intervention.mask(pictures.shape, 0, sample).all()


def test_each_number_of_a_label_map_is_a_unit_and_others_are_background(pictures, tmp_path):
    labels = np.zeros((24, 36), dtype=np.uint8)
    labels[:12, :18], labels[12:, 18:], labels[:12, 18:] = 1, 2, 7
    root = save(tmp_path / "masks", "{stem}.png", pictures, Image.fromarray(labels))
    intervention = bound(root, pictures, {"left lung": 1, "right lung": 2}, controls=1)
    units = ("left lung", "left lung control 0", "right lung", "right lung control 0")
    assert intervention.units(pictures.shape) == units
    assert intervention.region(pictures.shape, 0, 0) == (0, 0, 4, 4)
    assert intervention.region(pictures.shape, 2, 0) == (4, 4, 8, 8)
    assert {intervention.region(pictures.shape, 1, 0), intervention.region(pictures.shape, 3, 0)} <= {
        (4, 0, 8, 4),
        (0, 4, 4, 8),
    }


def test_arrays_of_an_npz_may_overlap(pictures, tmp_path):
    root = tmp_path / "masks"
    root.mkdir()
    whole, top = np.ones((24, 36), dtype=bool), np.zeros((24, 36), dtype=bool)
    top[:6] = True
    for name in pictures.table("test")["name"]:
        np.savez_compressed(root / f"{Path(name).stem}.npz", head=top, body=whole)
    intervention = bound(root, pictures, ["head", "body"], files="{stem}.npz")
    assert intervention.region(pictures.shape, 0, 0) == (0, 0, 2, 8)
    assert intervention.region(pictures.shape, 1, 0) == (0, 0, 8, 8)


def test_images_without_a_file_are_named_or_have_no_units(pictures, tmp_path):
    root = save(tmp_path / "masks", "{stem}.png", pictures, right_half(24, 36))
    lacking = pictures.table("test")["name"][1]
    (root / f"{Path(lacking).stem}.png").unlink()
    with pytest.raises(FileNotFoundError, match=rf"1 of 4 have none:\n.*{Path(lacking).stem}.png"):
        bound(root, pictures)
    intervention = bound(root, pictures, missing="skip")
    assert [intervention.region(pictures.shape, 0, sample).area > 0 for sample in range(4)] == [True, False, True, True]


def test_an_empty_mask_is_refused_or_has_no_units(pictures, tmp_path):
    root = save(tmp_path / "masks", "{stem}.png", pictures, right_half(24, 36, value=3))
    with pytest.raises(ValueError, match=r"masks must have a pixel of right, got an empty file: .*png.*missing=skip"):
        bound(root, pictures)
    with pytest.raises(ValueError, match=r"a pixel of right in some file, but all 4 are empty, such as .*png. Set int"):
        bound(root, pictures, missing="skip")
    right_half(24, 36).save(root / f"{Path(pictures.table('test')['name'][3]).stem}.png")
    intervention = bound(root, pictures, missing="skip")
    assert [intervention.region(pictures.shape, 0, sample).area > 0 for sample in (0, 3)] == [False, True]


def test_two_images_of_one_name_in_two_folders_are_refused_one_file_of_masks(pictures, tmp_path):
    root = tmp_path / "masks"
    root.mkdir()
    right_half(24, 36).save(root / "0.png")
    table = pictures.table("test")
    table["name"] = [f"{Path(name).parent}/{number // 2}.png" for number, name in enumerate(table["name"])]
    pictures.table = lambda split: table
    with pytest.raises(ValueError, match=r"a mask file of its own, but test/\w+/0.png and test/\w+/0.png both have "):
        bound(root, pictures, missing="skip")


def test_colours_and_arrays_of_other_types_are_refused(pictures, tmp_path):
    root = save(tmp_path / "masks", "{stem}.png", pictures, right_half(24, 36).convert("RGB"))
    with pytest.raises(ValueError, match=r"must be a label map, one number a pixel, got 3 channels"):
        bound(root, pictures)
    for name in pictures.table("test")["name"]:
        np.savez(root / f"{Path(name).stem}.npz", head=np.ones((24, 36)))
    with pytest.raises(
        ValueError,
        match=r"npz must be an .npz file with the bool array head \(h, w\): it is of float64, shape \(24, 36\)",
    ):
        bound(root, pictures, ["head"], files="{stem}.npz")


def test_masks_of_the_dataset_are_painted_inside_outside_and_moved(tmp_path):
    images = open_table(write_table(tmp_path))
    intervention = MaskFiles(None, None, BLACK, outside=True, controls=3, wrap=True)
    intervention.bind(images, "test")
    units = intervention.units(images.shape)
    assert units[0] == "mask"
    assert units[4] == OUTSIDE
    film = np.zeros(images.shape[1:], dtype=bool)
    painted = {}
    for unit in range(5):
        painted[units[unit]] = film.copy()
        where = intervention.region(images.shape, unit, 1).slices
        painted[units[unit]][where] = intervention.mask(images.shape, unit, 1)
    own = images.masks("test", 1)["mask"]
    assert np.array_equal(painted["mask"], own)
    assert np.array_equal(painted[OUTSIDE], ~own)
    for control in (f"mask control {number}" for number in range(3)):
        assert painted[control].sum() == own.sum()
        assert (painted[control] & own).sum() < 0.55 * own.sum()
    assert intervention.region(images.shape, 5, 1).area == 0  # what is outside has no control
    with pytest.raises(ValueError, match="units must be one of mask, got 'heart'"):
        MaskFiles(None, ["heart"], BLACK).bind(images, "test")


EMPTY, WHOLE, RIGHT = np.zeros((24, 36), bool), np.ones((24, 36), bool), np.arange(36) + np.zeros((24, 1)) >= 18
TINY, CUT = EMPTY.copy(), EMPTY.copy()
TINY[2, 8], CUT[:, :2] = True, True  # between the pixels that are taken, and in the border that is cut off


@pytest.mark.parametrize(
    ("masks", "units"),
    [
        ({"a": EMPTY, "b": EMPTY}, set()),
        ({"a": TINY, "b": EMPTY}, set()),
        ({"a": CUT, "b": TINY}, set()),
        ({"a": RIGHT, "b": EMPTY}, {"a", "a control 0", "outside"}),
        ({"a": EMPTY, "b": RIGHT}, {"b", "b control 0", "outside"}),
        ({"a": RIGHT, "b": ~RIGHT}, {"a", "a control 0", "b", "b control 0"}),
        ({"a": WHOLE, "b": EMPTY}, {"a"}),
        ({"a": WHOLE, "b": RIGHT}, {"a", "b", "b control 0"}),
    ],
)
@pytest.mark.parametrize("wrap", [False, True])
def test_an_image_has_the_units_whose_masks_have_a_pixel_and_what_is_outside_of_these(
    pictures, tmp_path, caplog, masks, units, wrap
):
    """Of four images the first three have a mask of each, which each show half, and the last has these."""
    root = tmp_path / "masks"
    root.mkdir()
    for sample, name in enumerate(pictures.table("test")["name"]):
        own = masks if sample == 3 else {"a": RIGHT, "b": ~RIGHT}
        np.savez_compressed(root / f"{Path(name).stem}.npz", **own)
    intervention = bound(
        root, pictures, ["a", "b"], files="{stem}.npz", missing="skip", outside=True, controls=1, wrap=wrap
    )
    names = intervention.units(pictures.shape)
    there = {name for unit, name in enumerate(names) if intervention.region(pictures.shape, unit, 3).area}
    assert there == units
    intervention.check_files(range(4))
    assert ("1 of 4 images have no mask, and so no unit" in caplog.text) == (not units)


def test_all_wrong_files_of_masks_are_named_at_once_before_anything_is_fitted(pictures, tmp_path):
    root = save(tmp_path / "masks", "{stem}.png", pictures, right_half(24, 36))
    names = [root / f"{Path(name).stem}.png" for name in pictures.table("test")["name"]]
    right_half(24, 24).save(names[1])
    right_half(24, 36, value=0).save(names[2])
    names[3].write_bytes(b"no picture")
    intervention = bound(root, pictures)  # the first one is right
    aspect = "must have the aspect of its image, 24 x 36 pixels, got 24 x 24 in"
    lines = rf"3 of 4 files .*wrong:\n.*{aspect} {names[1]}.*\n.*empty file: {names[2]}.*\n.*{names[3]} must be a whole"
    for check in (check_units, lambda own, *rest: check_units(Joint(own, Activation("relu", choose=[0])), *rest)):
        with pytest.raises(ValueError, match=lines):
            check(intervention, pictures, range(4))
    names[0].write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"4 of 4 files of masks are wrong:\n.*a whole image, but is not readable"):
        bound(root, pictures)
