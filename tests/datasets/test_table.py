"""Tables of images in every layout, and broken ones, each told in a sentence with its row and column."""

import gzip
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.errors import InstantiationException
from PIL import Image

from dovision.datasets.table import Table
from dovision.types import SPLITS, Box
from made_medical import write_dicom, write_nifti
from made_tables import HEIGHT, WIDTH, open_table, read_csv, with_cell, write_csv, write_table
from made_tables import SPLITS as SPLITS_OF_ROWS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_table(tmp_path / "data")


def names(dataset: Table) -> dict[str, list[str]]:
    return {split: sorted(dataset.table(split)["name"]) for split in SPLITS}


def refusal(root: Path, settings=None) -> str:
    """The message of the error that a table raises, without the folder."""
    with pytest.raises((InstantiationException, ValueError, FileNotFoundError)) as caught:
        open_table(root, settings)
    error = caught.value.__cause__ if isinstance(caught.value, InstantiationException) else caught.value
    assert isinstance(error, (ValueError, FileNotFoundError)), repr(error)
    return str(error).replace(f"{root.resolve()}/", "")


def test_each_item_is_its_file_with_label_patient_split_box_and_mask(root):
    dataset = open_table(root)
    assert names(dataset)["val"] == ["images/6.png", "images/7.png"]
    for split in SPLITS:
        table, boxes = dataset.table(split), dataset.boxes(split)
        assert len(boxes) == len(table)
        for sample, item in enumerate(dataset.split(split)):
            number = int(Path(table["name"][sample]).stem)
            pixels = np.array(Image.open(root / table["name"][sample]))
            assert torch.equal(item.image[0], torch.from_numpy(pixels) / 255)
            assert item.label == number % 2
            assert table["group"][sample] == f"p{number // 2}"
            box = boxes[boxes["sample"] == sample].iloc[0]
            assert box["label"] == box["object"] == ("cat", "dog")[number % 2]
            assert Box(*box[["top", "left", "bottom", "right"]]) == Box(3, 2 + number % 4, 11, 12 + number % 4)
            mask = np.zeros((HEIGHT, WIDTH), bool)
            mask[3:11, 2 + number % 4 : 12 + number % 4] = True
            assert np.array_equal(dataset.masks(split, sample)["mask"], mask)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".parquet", ";"])
def test_every_kind_of_table_gives_the_same_dataset(root, suffix):
    before = open_table(root)
    cells = pd.read_csv(root / "metadata.csv")
    path = root / f"other{suffix if suffix != ';' else '.csv'}"
    if suffix == ".parquet":
        cells.to_parquet(path)
    elif suffix == ".csv.gz":
        path.write_bytes(gzip.compress((root / "metadata.csv").read_bytes()))
    else:
        cells.to_csv(path, sep={".tsv": "\t", ";": ";"}.get(suffix, ","), index=False)
    dataset = open_table(root, {"manifest": path.name})
    assert names(dataset) == names(before)
    assert dataset.fingerprint == before.fingerprint


def test_splits_have_the_names_that_are_set(root):
    path, before = root / "metadata.csv", names(open_table(root))
    text = path.read_text().replace("train", "Train").replace("val", "valid", 1).replace("val,", "dev,")
    path.write_text(text)
    message = refusal(root, {"splits": {"val": "dev"}})
    assert "split in row 2 of metadata.csv must be one of train, dev, test, got 'Train'. Likewise rows" in message
    assert "Set 'dataset.splits={train: Train, val: valid}', or dataset.columns.split=null to have them cut." in message
    assert names(open_table(root, {"splits": {"train": "Train", "val": ["valid", "dev"]}})) == before
    assert "splits must have different names, got 'Train' for train and val." in refusal(
        root, {"splits": {"train": "Train", "val": ["Train"]}}
    )
    assert "splits must be one of train, val, test, got 'valid'." in refusal(root, {"splits": {"valid": "valid"}})


def relabelled(root: Path, column: str, values: list[str], header: str | None = None) -> None:
    rows = read_csv(root / "metadata.csv")
    place = rows[0].index(column)
    for row, value in zip(rows[1:], values * len(rows), strict=False):
        row[place] = value
    rows[0][place] = header or column
    write_csv(root / "metadata.csv", rows)


def test_labels_are_names_joined_by_a_separator(root):
    relabelled(root, "label", ["cat|dog", "dog", "", "No Finding"])
    dataset = open_table(root, {"task": "multilabel", "ignored_labels": ["No Finding"]})
    expected = {0: [1, 1], 1: [0, 1], 2: [0, 0], 3: [0, 0]}
    for item, name in zip(dataset.split("test"), dataset.table("test")["name"], strict=True):
        assert item.label.tolist() == expected[int(Path(name).stem) % 4]


def test_labels_are_columns_of_zeros_and_ones_and_unknown(root):
    rows = read_csv(root / "metadata.csv")
    cells = [("1", "0"), ("0.0", "1.0"), ("", "1"), ("-1", "0")]
    table = [[*rows[0], "cat", "dog"], *([*row, *cells[n % 4]] for n, row in enumerate(rows[1:]))]
    write_csv(root / "metadata.csv", table)
    dataset = open_table(root, {"task": "multilabel", "columns": {"label": None}})
    expected = {0: [1.0, 0.0], 1: [0.0, 1.0], 2: [np.nan, 1.0], 3: [np.nan, 0.0]}
    for item, name in zip(dataset.split("test"), dataset.table("test")["name"], strict=True):
        assert np.array_equal(item.label.numpy(), expected[int(Path(name).stem) % 4], equal_nan=True)
    write_csv(
        root / "metadata.csv", [[*rows[0], "cat", "dog"], *([*row, *cells[n % 2]] for n, row in enumerate(rows[1:]))]
    )
    assert open_table(root, {"columns": {"label": None}}).split("test")[0].label.dtype == torch.int64


def test_a_file_has_one_name_however_its_path_is_written(root):
    before = open_table(root)
    for row, path in (
        (2, str(root.resolve() / "images" / "0.png")),
        (3, ".//images/1.png"),
        (4, "masks/../images/2.png"),
    ):
        with_cell(root, row, "path", path)
    assert open_table(root).records["name"].tolist() == before.records["name"].tolist()
    assert open_table(root).content == before.content


def test_of_many_files_of_which_headers_are_read_some_are_decoded(root, caplog, monkeypatch):
    monkeypatch.setattr("dovision.datasets.readers.file_images._DECODED", 3)
    for path in (root / "images").glob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16) * 16).save(path)
    open_table(root, {"check": "headers"})
    assert "4095 becomes 1 in images of more than 8 bits, since the largest value of 3 of them is " in caplog.text


def test_files_of_equal_bytes_in_two_splits_are_refused_and_of_two_patients_warned_of(root, caplog):
    images = root / "images"
    (images / "2.png").write_bytes((images / "0.png").read_bytes())  # both are of train, and of two patients
    open_table(root)
    assert "1 images have the same bytes as another one of another group or patient, such as images/0.png and" in (
        caplog.text
    )
    (images / "8.png").write_bytes((images / "0.png").read_bytes())
    assert refusal(root) == (
        "an image must be in one split, but 1 of other splits have the same bytes, such as images/0.png (train) "
        "and images/8.png (test). Remove the copies, or give them one group or patient; or set dataset.copies=warn."
    )
    open_table(root, {"copies": "warn"})
    assert "images are in two splits: 1 of other splits have the same bytes" in caplog.text


def test_rows_are_chosen_by_columns_and_by_their_labels(root):
    relabelled(root, "label", ["cat", "dog", "unknown", "dog", "cat", "dog"])
    dataset = open_table(root, {"ignored_labels": ["unknown"], "where": {"split": ["train", "val", "test"]}})
    assert sum(map(len, names(dataset).values())) == 10
    assert len(open_table(root, {"ignored_labels": ["unknown"], "where": {"split": "test"}}).split("test")) == 3


def test_rows_that_repeat_an_image_are_further_boxes(root):
    rows = read_csv(root / "metadata.csv")
    again = [*rows[-1][:4], "0", "0", "5", "5", *rows[-1][8:]]
    write_csv(root / "metadata.csv", [*rows, again])
    boxes = open_table(root).boxes("test")
    assert len(boxes) == 5
    assert sorted(boxes["object"]) == ["cat", "cat", "dog", "dog", "dog2"]


@pytest.mark.parametrize(
    ("columns", "box"),
    [
        (["x", "y", "width", "height"], ["4", "3", "10", "8"]),
        (["xmin", "ymin", "xmax", "ymax"], ["4", "3", "14", "11"]),
        (["x_min", "y_min", "x_max", "y_max"], ["4.2", "3", "13.9", "11"]),
    ],
)
def test_boxes_come_from_a_second_table(root, columns, box):
    write_csv(
        root / "boxes.csv", [["path", "label", *columns], ["images/8.png", "tag", *box], ["images/8.png", "cat", *box]]
    )
    dataset = open_table(root, {"boxes": "boxes.csv"})
    boxes = dataset.boxes("test")
    assert boxes["object"].tolist() == ["tag", "cat"]
    assert boxes["label"].isna().tolist() == [True, False]
    assert [Box(*row) for row in boxes[["top", "left", "bottom", "right"]].values.tolist()] == [Box(3, 4, 11, 14)] * 2
    assert len(dataset.boxes("train")) == 0


def test_boxes_and_masks_are_resized_and_cropped_with_their_images(root):
    dataset = open_table(root, {"shape": [1, 40, 40]})  # twice as large, then 10 pixels are cut off each side
    sample = dataset.table("test")["name"].tolist().index("images/8.png")
    box = dataset.boxes("test").set_index("sample").loc[sample]
    assert Box(*box[["top", "left", "bottom", "right"]]) == Box(6, 0, 22, 14)
    mask = np.zeros((40, 40), bool)
    mask[6:22, :14] = True
    assert np.array_equal(dataset.masks("test", sample)["mask"], mask)
    assert dataset.split("test")[sample].image[0][mask].mean() > 0.5


def test_masks_come_from_a_folder_by_name_and_by_number(root):
    for path in (root / "masks").iterdir():
        path.rename(path.with_name(f"{path.stem}_lungs.png"))
    masks = {"folder": "masks", "files": "{stem}_lungs.png", "units": {"lung": 255, "heart": 7}}
    dataset = open_table(root, {"masks": masks, "columns": {"mask": None}})
    assert dataset.mask_names == ("lung", "heart")
    assert list(dataset.masks("test", 0)) == ["lung"]
    (root / "masks" / "8_lungs.png").unlink()
    assert "mask in row 10 of metadata.csv must be a file that is there" in refusal(
        root, {"masks": masks, "columns": {"mask": None}}
    )
    for missing in ("error", "skip"):
        wrong = {"folder": "masks", "files": "{stem}_lung.png", "missing": missing}
        message = refusal(root, {"masks": wrong, "columns": {"mask": None}})
        assert "masks/0_lung.png. 11 more are missing. Set dataset.masks.folder, and" in message
    dataset = open_table(root, {"masks": {**masks, "missing": "skip"}, "columns": {"mask": None}})
    assert sum(bool(dataset.masks("test", sample)) for sample in range(4)) == 3


@pytest.fixture
def slices(root):
    """A volume of twelve slices with one of masks, of 10 pixels in slice 0, 20 in slice 1 and so on."""
    masks = np.zeros((WIDTH, HEIGHT, len(SPLITS_OF_ROWS)), np.uint8)
    for number in range(len(SPLITS_OF_ROWS)):
        masks[5:15, 3 : 4 + number, number] = 1
    write_nifti(root / "lungs.nii.gz", masks)
    write_nifti(root / "volume.nii.gz", np.random.default_rng(0).random((WIDTH, HEIGHT, 12)).astype(np.float32))
    rows = [["path", "slice", "label", "split", "mask"]]
    rows += [
        ["volume.nii.gz", str(number), ("cat", "dog")[number % 2], split, "lungs.nii.gz"]
        for number, split in enumerate(SPLITS_OF_ROWS)
    ]
    write_csv(root / "metadata.csv", rows)
    return root


def test_masks_of_a_volume_are_those_of_its_images_slices(slices):
    dataset = open_table(slices)
    areas = [int(dataset.source_masks("test", row)["mask"].sum()) for row in range(4)]
    assert areas == [90, 100, 110, 120]
    dataset = open_table(slices, {"columns": {"mask": None}, "masks": {"folder": ".", "files": "lungs.nii.gz"}})
    assert [int(dataset.source_masks("test", row)["mask"].sum()) for row in range(4)] == areas


def test_masks_of_slices_have_the_number_in_their_files_names(slices):
    for number in range(12):
        Image.fromarray(np.eye(HEIGHT, WIDTH, number, np.uint8)).save(slices / "masks" / f"volume-{number:02d}.png")
    masks = {"folder": "masks", "files": "{stem}-{slice:02d}.png"}
    dataset = open_table(slices, {"columns": {"mask": None}, "masks": masks})
    assert dataset.source_masks("test", 0)["mask"][0].argmax() == 8
    (slices / "masks" / "volume.png").write_bytes((slices / "masks" / "volume-00.png").read_bytes())
    message = refusal(slices, {"columns": {"mask": None}, "masks": {"folder": "masks"}})
    assert (
        "a mask file of its own, but volume.nii.gz#0 and volume.nii.gz#1 both have masks/volume.png. Set files"
        in message
    )


def test_a_volume_of_masks_of_other_slices_than_its_images_is_refused(slices):
    write_nifti(slices / "lungs.nii.gz", np.ones((WIDTH, HEIGHT, 24), np.uint8))
    assert (
        "mask in row 2 of metadata.csv must be a volume of 12 axial slices, as its image is, got 'lungs.nii.gz'. "
        "lungs.nii.gz has 24. Resample it." in refusal(slices)
    )


def test_a_number_that_no_file_of_masks_has_is_told(root, caplog):
    open_table(root, {"masks": {"units": {"lung": 255, "heart": 7}}})
    assert "no file of masks has a pixel of 'heart', number 7: see dataset.masks.units" in caplog.text
    message = refusal(root, {"masks": {"units": {"lung": 1}, "missing": "skip"}})
    assert "a mask with at least one pixel of lung, got 'masks/0.png'. All are empty. masks/0.png has the" in message
    assert "has the numbers 0, 255. Set dataset.masks.units." in message


def test_dicom_nifti_and_deep_files_stand_side_by_side(root, caplog):
    deep = np.linspace(0, 4095, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    write_dicom(root / "images" / "8.dcm", deep, PhotometricInterpretation="MONOCHROME1")
    volume = np.arange(WIDTH * HEIGHT * 2, dtype=np.int16).reshape(WIDTH, HEIGHT, 2)
    write_nifti(root / "images" / "9.nii.gz", volume)
    Image.fromarray(deep * 16).save(root / "images" / "10.tif")
    rows = read_csv(root / "metadata.csv")
    for row, name in ((9, "8.dcm"), (10, "9.nii.gz"), (11, "10.tif")):
        rows[row][0] = f"images/{name}"
    rows = [[*row, "slice" if number == 0 else "1" if number == 10 else ""] for number, row in enumerate(rows)]
    write_csv(root / "metadata.csv", rows)
    with caplog.at_level(logging.WARNING):
        dataset = open_table(root, {"columns": {"mask": None}})
    items = dict(zip(dataset.table("test")["name"], dataset.split("test"), strict=True))
    torch.testing.assert_close(items["images/8.dcm"].image[0], torch.from_numpy(1 - deep / 4095).float())
    expected = volume[::-1, ::-1, 1].T / volume.max()
    torch.testing.assert_close(items["images/9.nii.gz#1"].image[0], torch.from_numpy(expected.copy()).float())
    torch.testing.assert_close(items["images/10.tif"].image[0], torch.from_numpy(deep * 16 / 65535).float())
    window = open_table(root, {"columns": {"mask": None}, "window": [2048, 4096]})
    items = dict(zip(window.table("test")["name"], window.split("test"), strict=True))
    expected = np.clip((deep * 16.0 - 2047.5) / 4095 + 0.5, 0, 1)
    torch.testing.assert_close(items["images/10.tif"].image[0], torch.from_numpy(expected).float())


def test_a_phone_picture_lies_as_its_orientation_has_it(root):
    path = root / "images" / "8.jpg"
    pixels = np.zeros((WIDTH, HEIGHT), np.uint8)
    pixels[:, :5] = 255  # the left side, which is the top after a turn to the right
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    with_cell(root, 10, "path", "images/8.jpg")
    dataset = open_table(root)
    sample = dataset.table("test")["name"].tolist().index("images/8.jpg")
    assert dataset.table("test").loc[sample, ["height", "width"]].tolist() == [HEIGHT, WIDTH]
    image = dataset.split("test")[sample].image[0]
    assert image[:4].min() > 0.9
    assert image[6:].max() < 0.1
    Image.new("L", (HEIGHT, WIDTH), 1).save(root / "masks" / "8.png")  # of the pixels as stored
    assert "those of the image lying on its side: images and masks are read as their EXIF orientation" in refusal(root)


def test_all_errors_of_a_table_are_named_at_once(root):
    for row, column, value in ((2, "path", ""), (3, "label", "owl"), (4, "label", "emu"), (5, "split", "dev")):
        with_cell(root, row, column, value)
    message = refusal(root)
    assert message.count("\n") == 4
    for row, column in ((2, "path"), (3, "label"), (4, "label"), (5, "split")):
        assert f"{column} in row {row} of metadata.csv must be" in message


def test_a_table_without_a_header_has_numbers_for_columns_also_between_blanks(root):
    """As ELPV's labels.csv: path, probability of a defect, kind of cell."""
    rows = [f"images/{number}.png  {number % 2}.0   {('mono', 'poly')[number % 2]}" for number in range(12)]
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    settings = {"manifest": "labels.csv", "classes": ["0.0", "1.0"], "columns": {"path": 0, "label": "1"}}
    data = open_table(root, settings)
    names = [name for split in SPLITS for name in data.source_table(split)["name"]]
    labels = [item for split in SPLITS for item in data.source(split).label.tolist()]
    assert sorted(zip(names, labels, strict=True)) == sorted((f"images/{row}.png", row % 2) for row in range(12))


def test_the_nihs_table_of_boxes_is_read_as_it_was_published(root, caplog):
    """Its header has three empty cells behind the last column, its rows have none, and its numbers are x, y, w, h."""
    rows = ["path,Finding Label,Bbox [x,y,w,h],,,", *(f"images/{row}.png,cat,2,3,10.4,8" for row in range(12))]
    (root / "boxes.csv").write_text("\n".join(rows))
    dataset = open_table(root, {"boxes": "boxes.csv"})
    box = dataset.boxes("test").iloc[0]
    assert Box(*box[["top", "left", "bottom", "right"]]) == Box(3, 2, 11, 12)
    assert box["label"] is None
    assert "boxes.csv has no column 'label': its boxes speak for no class. Name that of their labels in" in caplog.text
    named = open_table(root, {"boxes": "boxes.csv", "columns": {"box_label": "Finding Label"}})
    assert set(named.boxes("test")["label"]) == {"cat"}
    message = refusal(root, {"boxes": "boxes.csv", "columns": {"box_label": "Finding"}})
    assert "boxes.csv must have a column 'Finding' for columns.box_label, got path, Finding Label, Bbox [x" in message


@pytest.mark.parametrize("column", ["path", "mask"])
@pytest.mark.parametrize("how", ["upwards", "absolute", "a link to a file", "a link to a folder"])
def test_a_path_does_not_lead_out_of_the_root(root, column, how):
    outside = Path(shutil.copy(root / "images" / "0.png", root.parent / "outside.png"))
    (root / "file.png").symlink_to(outside)
    (root / "folder").symlink_to(outside.parent)
    ways = {"upwards": "images/../../outside.png", "absolute": str(outside), "a link to a file": "file.png"}
    with_cell(root, 4, column, ways.get(how, "folder/outside.png"))
    assert f"{column} in row 4 of metadata.csv must be " in (message := refusal(root))
    assert f"a file below {root.resolve()}" in message
    assert "Traceback" not in message


HEADER = "path,label,patient,split,left,top,right,bottom,mask"
WHITE, BLACK = np.full((20, 20), 255, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)


def replaced(old: str, new: str):
    """Replace a text in the table once."""
    return lambda root: (root / "metadata.csv").write_text((root / "metadata.csv").read_text().replace(old, new, 1))


def pixels(values, kind="PNG"):
    """Write the mask of the fourth image."""
    return lambda root: Image.fromarray(values).save(root / "masks" / "3.png", kind)


def by_palette(root):
    """Write a mask whose palette shows 0 in white and 1 in black, as editors of pictures do."""
    mask = Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8))
    mask.putpalette([255] * 3 + [0] * 3)
    mask.save(root / "masks" / "3.png")


def written(name: str, *rows: str):
    return lambda root: (root / name).write_text("\n".join(rows))


def labels_as_floats(root):
    cells = pd.read_csv(root / "metadata.csv", dtype=str)
    cells.replace({"cat": "1.0", "dog": "2.0"}).to_csv(root / "metadata.csv", index=False)


def boxes_as_shares(root):
    cells = pd.read_csv(root / "metadata.csv", dtype=str)
    cells.assign(left=".2", top=".1", right=".8", bottom=".9").to_csv(root / "metadata.csv", index=False)


CELLS = [  # column, value in row 5, and what the cell must be
    ("path", "", "the path of an image, got ''."),
    ("path", "s3://films/3.png", "the path of a file, not a URL, got 's3://films/3.png'. Fetch"),
    ("path", "images/33.png", "the path of a file that is there, got"),
    ("label", "dgo", "of the classes cat, dog, got 'dgo'. Did you mean"),
    ("label", "cat|dog", "one class, since the task is multiclass, got 'cat|dog'. Use dataset.task=multilabel."),
    ("label", "", "the name of a class, got ''."),
    ("patient", "", "the name or number of a patient, got ''. Set dataset.columns.patient"),
    ("patient", "NaN", "the name or number of a"),
    ("split", "", "a split, got ''. Give it one, or leave such rows out with"),
    ("split", "valid", "one of train, val, test, got 'valid'. Set 'dataset.splits={val: valid}', or"),
    ("right", "", "a number of pixels, as the box's other numbers"),
    ("top", "up", "a number of pixels, got 'up'."),
    ("right", "1", "above left, got '1'."),
    ("right", "5.2", "such that the box has a pixel, got '5.2'. Give boxes in pixels"),
    ("bottom", "90", "inside its image, 20 x 30 pixels, got '90'. Give"),
    ("mask", "masks/33.png", "a file that is there, got 'masks/33.png'. There is no"),
]
BOXES, COLUMNS = {"boxes": "boxes.csv"}, {"columns": {"label": None}}
HEAD = "path,label,x,y,width,height"
BROKEN = [  # what is broken, the sentence, and the settings
    *(
        (
            lambda root, cell=cell: with_cell(root, 5, *cell[:2]),
            f"{cell[0]} in row 5 of metadata.csv must be {cell[2]}",
            {},
        )
        for cell in CELLS
    ),
    (lambda root: (root / "images" / "3.png").write_bytes(b"text"), "a whole image, got 'images/3.png'. It is not", {}),
    (lambda root: with_cell(root, 5, "path", "images/2.png"), "'cat', as in the first row of the same image, got", {}),
    (
        lambda root: (root / "metadata.csv").open("a").write(",".join(read_csv(root / "metadata.csv")[3])),
        "path in row 14 of metadata.csv must be of an image, or of a box, that no other row has, got",
        {},
    ),
    (labels_as_floats, "must be of the classes 1, 2, got '1.0'. Likewise rows 4, 6, 8", {"classes": ["1", "2"]}),
    (None, "each class must have an image in train, but eel has none.", {"classes": ["cat", "dog", "eel"]}),
    (lambda root: with_cell(root, 5, "split", "test"), "a group must be in train or in test, but 1 are in both", {}),
    (replaced("mask\n", "slice\n"), "slice in row 2 of metadata.csv must be a whole number from 0 on, got", {}),
    (pixels(WHITE), "of its image's aspect, 20 x 30 pixels, got 'masks/3.png'. masks/3.png has 20 x 20. Save", {}),
    (pixels(BLACK), "mask in row 5 of metadata.csv must be a mask with at least one pixel, got 'masks/3.png'.", {}),
    (pixels(np.stack([BLACK, BLACK + 1, BLACK], -1)), "must be a file of masks, got 'masks/3.png'. masks/3.png", {}),
    (pixels(WHITE[:, :10].repeat(3, 1), "JPEG"), "a label map without loss, such as PNG, got JPEG, which blurs", {}),
    (by_palette, "0 is the background, but its palette shows 1 in black, and 0 in a colour. Save it as grey", {}),
    (replaced(",masks/3.png", ""), "as many cells as the header, 9, but row 5 has 8:", {}),
    (replaced("images/3.png", '"images/3.png'), "must be a whole table of cells, but row 5 is not: unexpected", {}),
    (replaced("patient", "label"), "columns of metadata.csv must have different names, got 'label' twice.", {}),
    (replaced("path", "file"), "must have a column 'path' for columns.path, got file, label, patient", {}),
    (None, "metadata.csv must have a column 'cat' for the", COLUMNS),
    (written("metadata.csv", HEADER), "metadata.csv must have at least one row, got none.", {}),
    (lambda root: (root / "metadata.csv").write_bytes(b"path\n\xdf"), "metadata.csv must be a text in UTF-8", {}),
    (written("metadata.csv", "path|label", "a|b"), "Cells are separated by a comma, semicolon or tab.", {}),
    (
        lambda root: [with_cell(root, row, "patient", name) for row, name in ((4, "07"), (5, "7.0"))],
        "patient in row 5 of metadata.csv must be a number written as in its other rows, if it is the same patient",
        {},
    ),
    (boxes_as_shares, "must be in pixels of the files, got '.8'", {}),
    (None, "manifest must be a file, but there is no films.csv.", {"manifest": "films.csv"}),
    (None, "manifest must be a file that ends in .csv, .tsv, .parquet", {"manifest": "films.xlsx"}),
    (None, "where.split must be a value of that column, test, train, val, got trian.", {"where": {"split": "trian"}}),
    (None, "must have a row of a class that is not ignored, got none.", {"ignored_labels": ["cat", "dog"]}),
    (None, "masks must be one of folder, files, units, missing, got 'foldr'. Did you", {"masks": {"foldr": "masks"}}),
    (None, "window must be a centre and a width, such as [40, 400],", {"window": [40]}),
    (
        lambda root: pd.DataFrame({"path": [{"a": 1}]}).to_parquet(root / "a.parquet"),
        "path in row 1 of a.parquet must be text, a number or a list",
        {"manifest": "a.parquet"},
    ),
    (written("boxes.csv", HEAD, "images/33.png,cat,1,1,5,5"), "must be the path of an image of the dataset", BOXES),
    (written("boxes.csv", HEAD, "images/3.png,cat,1,1,0,5"), "width in row 2 of boxes.csv must be above 0", BOXES),
    (written("boxes.csv", HEAD, "images/3.png,cat,-5,1,9,5"), "x in row 2 of boxes.csv must be inside its", BOXES),
    (written("boxes.csv", "path,label", "images/3.png,cat"), "boxes.csv must have the four columns of a box", BOXES),
]


@pytest.mark.parametrize(("spoil", "sentence", "settings"), BROKEN)
def test_a_broken_table_is_refused_in_a_sentence_with_row_and_column(root, spoil, sentence, settings):
    if spoil is not None:
        spoil(root)
    assert sentence in refusal(root, settings)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("patient", "Patient ID", "'Patient ID' that is not read: each image counts as a patient of its own. Set"),
        ("split", "Split", "'Split' that is not read: splits are cut by a seed. Set 'dataset.columns.split=Split' if"),
    ],
)
def test_a_column_by_another_name_that_is_not_read_is_warned_of(root, caplog, old, new, sentence):
    open_table(root, {"columns": {"patient": None, "split": None, "mask": None}, "val_fraction": 0.3})
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    replaced(old, new)(root)
    open_table(root)
    assert sentence in caplog.text
