"""ChestX-ray14 as a dataset, on a small release and on real films, and its tables, each wrong row by its line."""

from __future__ import annotations

import gzip
import shutil
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
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
    assert {name: known[name] for name in ("listed", "on_disk", "missing", "boxes")} == {
        "listed": 16,
        "on_disk": 15,
        "missing": 1,
        "boxes": 3,
    }
    assert known["patients"] == {"train": 4, "val": 2, "test": 2}
    assert open_films(nih_root, split="patients").recorded["lists_sha256"] == {}


def test_a_part_of_the_films_keeps_its_splits(nih_root):
    whole = {name: set(open_films(nih_root).table(name)["name"]) for name in SPLITS}
    for patient in (1, 3, 7):
        next(nih_root.glob(f"images_*/images/0000000{patient}_001.png")).unlink()
    part = {name: set(open_films(nih_root).table(name)["name"]) for name in SPLITS}
    assert all(part[name] <= whole[name] for name in SPLITS)
    assert sum(map(len, part.values())) == 13


def test_the_fingerprint_changes_with_files_labels_lists_and_cut_but_not_with_the_place(nih_root, tmp_path):
    seen = {open_films(nih_root).fingerprint}
    assert open_films(shutil.copytree(nih_root, tmp_path / "elsewhere")).fingerprint in seen
    seen.add(open_films(nih_root, seed=1).fingerprint)
    seen.add(open_films(nih_root, classes=FINDINGS[:3]).fingerprint)
    table = nih_root / "Data_Entry_2017.csv"
    table.write_text(table.read_text().replace("Infiltration", "Hernia", 1))
    seen.add(open_films(nih_root).fingerprint)
    Image.new("L", (32, 32)).save(nih_root / "images_001" / "images" / "00000001_000.png")
    seen.add(open_films(nih_root).fingerprint)
    assert len(seen) == 5


def test_boxes_are_scaled_from_the_released_size(nih_root):
    rows = open_films(nih_root, classes=["Infiltration", "Mass"], shape=(1, 64, 64)).source_boxes("test")
    assert rows.drop(columns="label").values.tolist() == [
        [0, "Atelectasis", 32, 16, 40, 32],  # 512, 256, 640, 512 of 1024 pixels
        [0, "Atelectasis2", 0, 0, 4, 4],
        [3, "Infiltration", 32, 32, 64, 64],
    ]
    assert rows["label"].isna().tolist() == [True, True, False]
    assert open_films(nih_root).boxes("train").empty


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["Mas"]}, "classes must be one of .*, got 'Mas'. Did you mean Mass"),
        ({"shape": (2, 32, 32)}, r"shape must have 1 \(grey\) or 3 \(RGB\) channels, got \[2, 32, 32\]"),
        ({"split": "offical"}, "split must be one of official, patients, got 'offical'. Did you mean official"),
    ],
)
def test_a_wrong_argument_is_refused(nih_root, change, message):
    with pytest.raises(ValueError, match=message):
        open_films(nih_root, **change)


def test_a_split_without_a_film_on_disk_is_refused(nih_root):
    for patient in (7, 8):
        for path in nih_root.glob(f"images_*/images/0000000{patient}_*.png"):
            path.unlink()
    with pytest.raises(ValueError, match="each split must have an image, but test has none of 12"):
        open_films(nih_root)


@pytest.mark.real
def test_the_official_split_of_real_films_asks_for_the_lists(real_data):
    with pytest.raises(FileNotFoundError, match=r"train_val_list.txt must lie in .*dataset.split=patients"):
        open_films(real_data / "nih")


def patients(entries, split) -> dict[str, set[int]]:
    return {name: set(entries["patient"][split == name]) for name in SPLITS}


def test_the_test_split_is_as_listed_and_val_is_cut_by_patient_from_the_other_list(nih_root):
    entries, lists = chest_xray14.read_entries(nih_root), chest_xray14.official_lists(nih_root)
    split = split_films(entries, lists, val_fraction=0.34, test_fraction=0.5, seed=0)
    own = patients(entries, split)
    assert own["test"] == {7, 8}
    assert (len(own["train"]), len(own["val"])) == (4, 2)  # whole patients
    assert own["train"] | own["val"] == {1, 2, 3, 4, 5, 6}
    again = split_films(entries, lists, 0.34, 0.5, seed=1)
    assert patients(entries, again)["val"] != own["val"]


def test_without_lists_all_is_cut_by_patient(nih_root):
    entries = chest_xray14.read_entries(nih_root)
    own = patients(entries, split_films(entries, None, val_fraction=0.25, test_fraction=0.25, seed=0))
    assert {name: len(part) for name, part in own.items()} == {"train": 4, "val": 2, "test": 2}


def test_a_patient_in_both_lists_is_refused(nih_root):
    entries, lists = chest_xray14.read_entries(nih_root), chest_xray14.official_lists(nih_root)
    mixed = lists._replace(test=lists.test | {"00000003_001.png"})
    with pytest.raises(ValueError, match=r"in train_val_list.txt or in test_list.txt, but 1 are in both.* patient 3\."):
        split_films(entries, mixed, 0.2, 0.0, seed=0)


def test_a_film_in_no_list_is_refused(nih_root):
    entries, lists = chest_xray14.read_entries(nih_root), chest_xray14.official_lists(nih_root)
    short = lists._replace(train_val=lists.train_val - {"00000003_001.png"})
    with pytest.raises(ValueError, match=r"but 1 are in neither, such as 00000003_001.png"):
        split_films(entries, short, 0.2, 0.0, seed=0)


def test_numbered_folders_and_one_flat_folder_hold_the_same_films(nih_root):
    numbered = chest_xray14.films_on_disk(nih_root).sort_values("name")
    (nih_root / "images").mkdir()
    for path in nih_root.glob("images_*/images/*.png"):
        shutil.move(path, nih_root / "images")
    (nih_root / "images" / "._00000001_000.png").write_text("")
    flat = chest_xray14.films_on_disk(nih_root).sort_values("name")
    assert flat["name"].tolist() == numbered["name"].tolist()
    assert all("/images_" not in path for path in flat["path"])


def test_a_film_in_two_folders_is_refused(nih_root):
    (nih_root / "images").mkdir()
    shutil.copy(nih_root / "images_001" / "images" / "00000001_000.png", nih_root / "images")
    with pytest.raises(ValueError, match=r"must lie in one folder, but one lies at .*images_001.* and .*images/"):
        chest_xray14.films_on_disk(nih_root)


def test_a_root_without_films_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must hold the films in images_001/images.*set dataset.root"):
        chest_xray14.films_on_disk(tmp_path)


ENTRIES, BOXES = "Data_Entry_2017.csv", "BBox_List_2017.csv"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_entries_have_patients_ages_and_findings(nih_root):
    table = chest_xray14.read_entries(nih_root)
    assert len(table) == 16
    row = table.set_index("name").loc["00000007_001.png"]
    assert row.to_dict() == {"findings": "Atelectasis|Mass", "patient": 7, "age": 57, "sex": "F", "view": "PA"}


def test_the_other_header_and_a_gzipped_file_are_read_alike(nih_root):
    before = chest_xray14.read_entries(nih_root)
    text = (nih_root / ENTRIES).read_text().replace("Patient Gender", "Patient Sex").replace(",\n", "\n")
    (nih_root / ENTRIES).unlink()
    (nih_root / "Data_Entry_2017_v2020.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert chest_xray14.read_entries(nih_root).equals(before)


def test_labels_are_ones_where_found_and_no_finding_is_all_zeros(nih_root):
    findings = chest_xray14.read_entries(nih_root)["findings"]
    labels = chest_xray14.label_matrix(findings, ("Mass", "Atelectasis", "Hernia", "Infiltration"))
    assert labels[:4].tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_boxes_are_renamed_numbered_and_in_whole_pixels(nih_root):
    entries, boxes = read_all(nih_root)
    assert boxes.assign(row=entries["name"].iloc[boxes["row"]].to_numpy()).values.tolist() == [
        ["00000007_000.png", "Atelectasis", "Atelectasis", 512, 256, 640, 512],
        ["00000007_000.png", "Atelectasis2", "Atelectasis", 0, 0, 64, 64],
        ["00000008_001.png", "Infiltration", "Infiltration", 512, 512, 1024, 1024],
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Infiltration,", "Infiltrtion,", "findings in row 4 .* labels of ChestX-ray14, .*Did you mean Infiltration"),
        ("00000002_000.png,", "00000001_001.png,", "name in row 4 .* an image that no other row has, got"),
        (",0,1,051Y", ",0,one,051Y", "patient in row 2 .* must be a patient's number, got 'one'"),
        (",0,1,051Y", ",0,12.5,051Y", "patient in row 2 .* must be a patient's number, got '12.5'"),
        (",0,1,051Y", ",0,99999999999999999999,051Y", "patient in row 2 .* a patient's number, got '9999"),
        ("Patient ID", "Patient", "must have a column 'patient' for ChestX-ray14, got name"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_line(nih_root, old, new, message):
    edit(nih_root / ENTRIES, old, new)
    with pytest.raises(ValueError, match=message):
        chest_xray14.read_entries(nih_root)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("512,512,512,512", "512,512,0,512", "w in row 4 .* above 0, got '0'"),
        ("512,512,512,512", "512,512,,512", "w in row 4 .* a number of pixels, as the box's other numbers are"),
        ("512,512,512,512", "512,512,600,512", "w in row 4 .* inside its image, 1024 x 1024 pixels, got '600'"),
        ("Infiltrate", "Fracture", "label in row 4 .* must be one of the 14 labels, got 'Fracture'"),
        ("00000008_001", "00000009_001", "name in row 4 .* must be an image of the entry table, got"),
    ],
)
def test_a_wrong_box_is_refused_with_its_line(nih_root, old, new, message):
    edit(nih_root / BOXES, old, new)
    with pytest.raises(ValueError, match=message):
        read_all(nih_root)


def test_boxes_under_a_quoted_header_are_read_alike(nih_root):
    before = read_all(nih_root)[1]
    head, *rows = (nih_root / BOXES).read_text().splitlines()
    assert "Bbox [x,y,w,h]" in head
    for quoted in ('Image Index,Finding Label,"Bbox [x,y,w,h]",,,', 'Image Index,Finding Label,"Bbox [x, y, w, h]",,,'):
        (nih_root / BOXES).write_text("\n".join([quoted, *rows]))
        assert read_all(nih_root)[1].equals(before)


def test_a_table_of_too_few_columns_is_refused(nih_root):
    (nih_root / BOXES).write_text("Image Index,Finding Label,x,y\n00000007_000.png,Mass,1,2\n")
    with pytest.raises(ValueError, match=r"must have 6 columns, .* got Image Index, Finding Label, x, y\."):
        read_all(nih_root)


@pytest.mark.parametrize("line", [2, 5])
@pytest.mark.parametrize("name", [ENTRIES, BOXES])
def test_a_row_longer_than_the_header_is_refused_with_its_line(nih_root, name, line, recwarn):
    before = read_all(nih_root)
    lines = (nih_root / name).read_text().splitlines()
    line = min(line, len(lines))
    for more in (",", ",,"):  # empty cells say nothing
        lines[line - 1] += more
        (nih_root / name).write_text("\n".join(lines))
        assert all(map(pd.DataFrame.equals, read_all(nih_root), before))
    lines[line - 1] += ",,,7"
    (nih_root / name).write_text("\n".join(lines))
    width = lines[0].rstrip(",").count(",") + 1
    with pytest.raises(ValueError, match=rf"{name} .* as the header, {width}, but row {line} has .*,7'. Quote"):
        read_all(nih_root)
    assert not recwarn


def read_all(root: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    entries = chest_xray14.read_entries(root)
    boxes = chest_xray14.read_finding_boxes(root, entries["name"], entries, chest_xray14.FINDINGS)
    chest_xray14.official_lists(root)
    return entries, boxes


@pytest.mark.parametrize("name", [ENTRIES, BOXES, "train_val_list.txt", "test_list.txt"])
def test_a_missing_file_is_named_with_its_remedy(nih_root, name):
    (nih_root / name).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"{name} must lie in {nih_root}.*Fetch it from https://nihcc.*dataset"
    ):
        read_all(nih_root)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torchxrayvision") is None, reason="the full tables come with torchxrayvision")
def test_the_official_tables_are_joined_labelled_and_split_by_patient(tmp_path):
    for name in ("Data_Entry_2017_v2020.csv.gz", "BBox_List_2017.csv.gz"):
        shutil.copy(Path(find_spec("torchxrayvision").origin).parent / "data" / name, tmp_path)
    table = chest_xray14.read_entries(tmp_path)
    labels = chest_xray14.label_matrix(table["findings"], chest_xray14.FINDINGS)
    boxes = chest_xray14.read_finding_boxes(tmp_path, table["name"], table, chest_xray14.FINDINGS)
    test = table["patient"] % 5 == 0
    lists = chest_xray14.Lists(frozenset(table["name"][~test]), frozenset(table["name"][test]), {})
    split = split_films(table, lists, val_fraction=0.1, test_fraction=0.0, seed=0)
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
