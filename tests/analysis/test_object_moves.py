"""What attacks change, on effects made up by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dovision.analysis.object_moves import moves, pairs, relevant
from dovision.functional.intervals import CONSTANT
from dovision.report.figures.objects import Objects
from dovision.store.run_record import Run, read_sweep

OBJECTS = {"nodule0": "nodule", "nodule1": "nodule", "tag": None, "rib": None}
CLEAN = {"nodule0": -2.0, "nodule1": -1.0, "tag": -0.5, "rib": 0.0}
SHIFT = {"nodule0": 1.0, "nodule1": 1.0, "tag": -3.0, "rib": 0.0}  # by the attack


def rows(samples: int = 6) -> pd.DataFrame:
    """Effects on two classes, of which objects speak for one; the last sample has no tag."""
    found = []
    for sample in range(samples):
        for condition in ("clean", "eps=0.1"):
            for obj, label in OBJECTS.items():
                for name in ("healthy", "nodule"):
                    effect = CLEAN[obj] + (SHIFT[obj] if condition != "clean" else 0.0)
                    kind = obj.rstrip("01")
                    if (sample, obj) != (samples - 1, "tag"):
                        found.append((sample, sample, condition, name, obj, kind, label, False, 0.1 * effect, effect))
    columns = [
        "sample",
        "group",
        "condition",
        "class",
        "object",
        "kind",
        "label",
        "control",
        "effect",
        "log_odds_effect",
    ]
    return pd.DataFrame(found, columns=columns)


def test_only_classes_that_objects_speak_for_are_relevant():
    frame = relevant(rows())
    assert set(frame["class"]) == {"nodule"}
    assert set(frame["kind"]) == {"nodule", "tag", "rib"}


def test_causes_are_averaged_within_an_image_and_images_without_a_tag_left_out():
    frame = pairs(relevant(rows())).set_index(["sample", "condition"])
    assert len(frame) == 5 * 2
    assert frame.loc[(0, "clean"), ["cause", "tag"]].tolist() == [-1.5, -0.5]
    assert frame.loc[(0, "eps=0.1"), ["cause", "tag"]].tolist() == [-0.5, -3.5]


def test_a_change_is_that_of_the_same_object_of_the_same_image():
    frame = moves(relevant(rows())).set_index("kind")
    assert frame["change"].to_dict() == {"nodule": 1.0, "tag": -3.0, "rib": 0.0}
    assert frame["size"].to_dict() == {"nodule": 1.0, "tag": 3.0, "rib": 0.0}
    assert frame["objects"].to_dict() == {"nodule": 12, "tag": 5, "rib": 6}
    assert frame["change_low"].isna().all()
    assert set(frame["change_reason"]) == {CONSTANT}


def test_without_objects_there_is_nothing():
    nothing = relevant(rows().iloc[:0])
    assert pairs(nothing).empty
    assert moves(nothing).empty


@pytest.fixture
def attacked(map_run, monkeypatch) -> Run:
    """A run whose true effects are those above."""
    monkeypatch.setattr("dovision.report.figures.objects.true_effects", lambda folder: rows())
    (run,) = read_sweep(map_run)
    return run


def test_the_figure_has_a_cloud_and_the_changes_of_each_kind(attacked):
    report_figure = {item.name: item for item in Objects(0, most=16).of_run(attacked)}["cause_against_tag"]
    cloud, signed, _ = report_figure.figure.axes
    assert [len(points.get_offsets()) for points in cloud.collections[:2]] == [5, 5]
    assert [tick.get_text() for tick in signed.get_yticklabels()] == ["nodule", "tag", "rib"]
    assert "n = 5 images (left), 5 to 12 objects (right)" in report_figure.caption
    np.testing.assert_allclose(report_figure.data["size"].dropna(), [1, 3, 0])


def test_without_an_attack_there_is_no_such_figure(map_run):
    assert [item.name for item in Objects(0, most=16).of_run(*read_sweep(map_run))] == ["object_effects"]
