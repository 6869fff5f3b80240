"""The tables of ChestX-ray14: both headers, the official tables at full size, and each wrong row by its line."""

from __future__ import annotations

import gzip
import shutil
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest

from dovision.datasets import _nih_tables
from dovision.datasets.chest_xray14 import split_films

ENTRIES, BOXES = "Data_Entry_2017.csv", "BBox_List_2017.csv"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_entries_have_patients_ages_and_findings(nih_root):
    table = _nih_tables.read_entries(nih_root)
    assert len(table) == 16
    row = table.set_index("name").loc["00000007_001.png"]
    assert row.to_dict() == {"findings": "Atelectasis|Mass", "patient": 7, "age": 57, "sex": "F", "view": "PA"}


def test_the_other_header_and_a_gzipped_file_are_read_alike(nih_root):
    before = _nih_tables.read_entries(nih_root)
    text = (nih_root / ENTRIES).read_text().replace("Patient Gender", "Patient Sex").replace(",\n", "\n")
    (nih_root / ENTRIES).unlink()
    (nih_root / "Data_Entry_2017_v2020.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert _nih_tables.read_entries(nih_root).equals(before)


def test_labels_are_ones_where_found_and_no_finding_is_all_zeros(nih_root):
    findings = _nih_tables.read_entries(nih_root)["findings"]
    labels = _nih_tables.label_matrix(findings, ("Mass", "Atelectasis", "Hernia", "Infiltration"))
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
        _nih_tables.read_entries(nih_root)


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
    entries = _nih_tables.read_entries(root)
    boxes = _nih_tables.read_finding_boxes(root, entries["name"], entries, _nih_tables.FINDINGS)
    _nih_tables.lists(root)
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
    table = _nih_tables.read_entries(tmp_path)
    labels = _nih_tables.label_matrix(table["findings"], _nih_tables.FINDINGS)
    boxes = _nih_tables.read_finding_boxes(tmp_path, table["name"], table, _nih_tables.FINDINGS)
    test = table["patient"] % 5 == 0
    lists = _nih_tables.Lists(frozenset(table["name"][~test]), frozenset(table["name"][test]), {})
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
