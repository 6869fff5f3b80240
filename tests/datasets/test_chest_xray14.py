"""ChestX-ray14 as a dataset, on a small release and on real films, and its tables, each wrong row by its line."""

import gzip
import shutil
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from dovision.datasets import chest_xray14
from dovision.datasets.chest_xray14 import FINDINGS, ChestXray14, split_films
from dovision.types import Box

SPLITS = ("train", "val", "test")


def open_films(root, classes=FINDINGS, shape=(1, 32, 32), split="official", seed=0) -> ChestXray14:
    return ChestXray14(str(root), "multilabel", classes, shape, split, 0.34, 0.25, seed)


def test_films_come_with_labels_patients_and_facts(nih_root):
    images = open_films(nih_root, classes=["Mass", "Infiltration"], shape=(3, 32, 32))
    test, table = images.split("test"), images.table("test")
    items = {name: test[sample] for sample, name in zip(table["sample"], table["name"], strict=True)}
    table = table.set_index("name")
    names = [f"0000000{patient}_00{number}.png" for patient in (7, 8) for number in (0, 1)]
    assert sorted(items) == names
    assert table["labels"][names].tolist() == ["No Finding", "Atelectasis|Mass", "Infiltration", "Pleural_Thickening"]
    assert table.loc[names[1], ["group", "patient", "age", "sex", "view"]].tolist() == ["7", 7, 57, "F", "PA"]
    assert [items[name].label.tolist() for name in names] == [[0, 0], [1, 0], [0, 1], [0, 0]]
    assert [int(items[name].group) for name in names] == [7, 7, 8, 8]
    pixels = np.asarray(Image.open(nih_root / "images_002" / "images" / names[1]))
    assert torch.equal(items[names[1]].image, (torch.from_numpy(pixels.copy()) / 255).expand(3, 32, 32))


def test_what_a_run_records_counts_films_and_hashes_the_lists(nih_root):
    (nih_root / "images_001" / "images" / "00000001_000.png").unlink()
    known = open_films(nih_root).recorded
    names = ("train_val_list.txt", "test_list.txt")
    assert known["lists_sha256"] == {name: sha256((nih_root / name).read_bytes()).hexdigest() for name in names}
    assert [known[name] for name in ("listed", "on_disk", "missing", "boxes")] == [16, 15, 1, 3]
    assert known["patients"] == {"train": 4, "val": 2, "test": 2}
    assert open_films(nih_root, split="patients").recorded["lists_sha256"] == {}


def test_a_box_outside_the_taken_centre_has_no_row(nih_root):
    rows = open_films(nih_root, shape=(1, 64, 16)).source_boxes("test")  # columns 24 to 39 of a film of 64 x 64
    assert rows.values.tolist() == [
        [0, "Atelectasis", "Atelectasis", 32, 0, 40, 8],
        [3, "Infiltration", "Infiltration", 32, 8, 64, 16],
    ]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    top=st.integers(300, 450),
    left=st.integers(300, 450),
    size=st.integers(150, 270),
    shape=st.tuples(st.just(1), st.integers(120, 260), st.integers(120, 260)),
)
def test_a_drawn_box_lies_where_its_row_says(nih_root, top, left, size, shape):
    film = np.zeros((1024, 1024), np.uint8)
    film[top : top + size, left : left + size] = 255
    Image.fromarray(film).save(nih_root / "images_002" / "images" / "00000007_000.png", compress_level=1)
    lines = f"Image Index,Finding Label,Bbox [x,y,w,h],,,\n00000007_000.png,Mass,{left},{top},{size},{size}\n"
    (nih_root / "BBox_List_2017.csv").write_text(lines)
    images = open_films(nih_root, shape=shape)
    (sample,) = images.boxes("test")["sample"]
    bright = images.split("test")[sample].image[0] >= 0.5
    rows, columns = (torch.nonzero(bright.any(axis)).flatten().tolist() for axis in (1, 0))
    drawn = Box(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)
    edges = zip(drawn, Box(*images.boxes("test").iloc[0, 3:]), strict=True)
    assert all(abs(seen - stated) <= 1 for seen, stated in edges)  # pixels: an edge may lie in the middle of one


def patients(images: ChestXray14) -> dict[str, set[int]]:
    return {name: set(images.table(name)["patient"]) for name in SPLITS}


def test_the_test_split_is_as_listed_and_val_is_cut_by_patient_from_the_other_list(nih_root):
    listed = patients(open_films(nih_root))
    assert listed["test"] == {7, 8}
    assert (len(listed["train"]), len(listed["val"])) == (4, 2)  # whole patients
    assert listed["train"] | listed["val"] == {1, 2, 3, 4, 5, 6}
    assert patients(open_films(nih_root, seed=1))["val"] != listed["val"]
    cut = patients(open_films(nih_root, split="patients"))
    assert sorted(map(len, cut.values())) == [2, 3, 3]


ENTRIES, BOXES = "Data_Entry_2017.csv", "BBox_List_2017.csv"


def test_the_other_header_a_gzipped_file_and_a_flat_folder_are_read_alike(nih_root):
    before = open_films(nih_root)
    text = (nih_root / ENTRIES).read_text().replace("Patient Gender", "Patient Sex").replace(",\n", "\n")
    (nih_root / ENTRIES).unlink()
    (nih_root / "Data_Entry_2017_v2020.csv.gz").write_bytes(gzip.compress(text.encode()))
    boxes = (nih_root / BOXES).read_text().replace("Bbox [x,y,w,h]", '"Bbox [x, y, w, h]"')
    (nih_root / BOXES).write_text(boxes)
    (nih_root / "images").mkdir()
    for path in nih_root.glob("images_*/images/*.png"):
        shutil.move(path, nih_root / "images")
    (nih_root / "images" / "._00000001_000.png").write_text("")
    assert open_films(nih_root).content == before.content


def edited(name: str, old: str, new: str):
    """Replace a text in a file once."""
    return lambda root: (root / name).write_text((root / name).read_text().replace(old, new, 1))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (edited(ENTRIES, "Infiltration,", "Infiltrtion,"), "Finding Labels in row 4 .* Did you mean Infiltration"),
        (edited(ENTRIES, "00000002_000.png,", "00000001_001.png,"), "row 4 .* an image that no other row has, got"),
        (edited(ENTRIES, ",0,1,051Y", ",0,12.5,051Y"), "Patient ID in row 2 .* must be a patient's number, got '12.5'"),
        (edited(ENTRIES, ",0,1,051Y", f",0,{10**19},051Y"), "Patient ID in row 2 .* a patient's number, got '1000"),
        (edited(ENTRIES, "Patient ID", "Patient"), "must have a column 'Patient ID' for ChestX-ray14, got Image"),
        (edited(BOXES, "512,512,512,512", "512,512,600,512"), "inside its image, 1024 x 1024 pixels, got '600'"),
        (edited(BOXES, "Infiltrate", "Fracture"), "Finding Label in row 4 .* one of the 14 labels, got 'Fracture'"),
        (edited(BOXES, "Bbox [x,y,w,h],,,", "x,y"), "must have as many cells as the header, 4, but row 2 has 6"),
        (edited("test_list.txt", "00000007_000.png", ""), "but 1 are in neither, such as 00000007_000.png"),
        (edited("test_list.txt", "0000000", "00000003_001.png\n0000000"), "but 1 are in both.* patient 3"),
        (lambda root: (root / "images").symlink_to(root / "images_001" / "images"), "must lie in one folder, but one"),
        (lambda root: shutil.rmtree(root / "images_002"), "each split must have an image, but test has none of 8"),
        (lambda root: [*map(shutil.rmtree, root.glob("images_00*"))], "must hold the films in images"),
        *(
            (
                lambda root, name=name: (root / name).unlink(),
                f"{name} must lie in .*Fetch it from https://nihcc.*dataset",
            )
            for name in (ENTRIES, BOXES, "train_val_list.txt", "test_list.txt")
        ),
    ],
)
def test_a_wrong_release_is_refused_with_the_row_or_the_file(nih_root, spoil, message):
    spoil(nih_root)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        open_films(nih_root)


def test_a_class_of_another_name_is_refused(nih_root):
    with pytest.raises(ValueError, match="classes must be one of .*, got 'Mas'. Did you mean Mass"):
        open_films(nih_root, classes=["Mas"])


@pytest.mark.skipif(find_spec("torchxrayvision") is None, reason="the full tables come with torchxrayvision")
def test_the_official_tables_are_joined_labelled_and_split_by_patient(tmp_path):
    for name in ("Data_Entry_2017_v2020.csv.gz", "BBox_List_2017.csv.gz"):
        shutil.copy(Path(find_spec("torchxrayvision").origin).parent / "data" / name, tmp_path)
    table, labels = chest_xray14.read_entries(tmp_path)
    films = table.assign(height=1024, width=1024)
    boxes = chest_xray14.read_boxes(tmp_path, table["name"], films, chest_xray14.FINDINGS)
    test = table["patient"] % 5 == 0
    lists = dict(
        zip(chest_xray14.LISTS, (frozenset(table["name"][~test]), frozenset(table["name"][test])), strict=True)
    )
    split = split_films(table, labels, lists, val_fraction=0.1, test_fraction=0.0, seed=0)
    labels = labels.numpy()
    assert (len(table), table["patient"].nunique(), len(boxes)) == (112120, 30805, 984)
    counts = (11559, 2776, 13317, 19894, 5782, 6331, 1431, 5302, 4667, 2303, 2516, 1686, 3385, 227)  # as published
    assert tuple(labels.sum(axis=0).astype(int)) == counts
    assert (labels.sum(axis=1) == 0).sum() == 60361
    patients = {name: set(table["patient"][split == name]) for name in ("train", "val", "test")}
    assert sum(map(len, patients.values())) == 30805  # so that they are disjoint
    of_val = labels[split == "val"]
    assert len(of_val) / (split != "test").sum() == pytest.approx(0.1, abs=1e-3)
    assert of_val.sum(0) / labels[split != "test"].sum(0) == pytest.approx(0.1, abs=0.02)  # each of the 14 labels
    assert of_val.any(1).mean() == pytest.approx(labels[split != "test"].any(1).mean(), abs=0.02)
