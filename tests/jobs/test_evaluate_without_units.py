"""Images of which some have no unit, such as a box: a job of none is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dovision.interventions.fills import Constant
from dovision.interventions.mask_files import check_units
from dovision.interventions.region_box import RegionBox
from made_tables import SPLITS, open_table, read_csv, write_csv, write_table

EDGES = slice(4, 8)  # columns of a box


@pytest.fixture
def job(tmp_path):
    """Twelve images, boxes in one of train and one of test, and a job that paints them over."""
    root = write_table(tmp_path / "data")
    rows = read_csv(root / "metadata.csv")
    for number, row in enumerate(rows[1:]):
        if number not in (0, len(SPLITS) - 1):
            row[EDGES] = [""] * 4
    write_csv(root / "metadata.csv", rows)
    data = ("dataset=table", f"dataset.root={root}", "dataset.classes=[cat,dog]", "dataset.shape=[1,28,28]")
    own = ("training.classifier.epochs=0", "intervention=region_box", f"output_root={tmp_path / 'out'}")
    return (*data, *own)


def test_images_without_a_unit_are_refused_before_anything_is_fitted(job):
    (root,) = (each.partition("=")[2] for each in job if each.startswith("dataset.root="))
    dataset = open_table(Path(root), {"shape": [1, 28, 28]})
    has_box = set(dataset.boxes("test")["sample"])
    assert len(has_box) == 1
    intervention = RegionBox(Constant(0.0), controls=1, seed=0)
    intervention.bind(dataset, "test")
    check_units(intervention, dataset, range(4))
    with pytest.raises(ValueError, match="such as a mask or a box, but none of the 3 that are evaluated has one. Eval"):
        check_units(intervention, dataset, sorted(set(range(4)) - has_box))
