"""Boxes of objects and their controls, against a count of all places."""

import itertools
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import ListConfig
from scipy import stats

import dovision as dv

NOTHING = dv.Box(0, 0, 0, 0)
TWO = [
    (0, "tag", None, 1, 1, 3, 4),
    (0, "nodule1", "disease", 6, 6, 9, 8),
    (0, "nodule0", "disease", 2, 8, 4, 11),
    (3, "nodule0", "disease", 0, 0, 5, 5),
]


def bound(images, controls=2, seed=0, objects=None) -> dv.RegionBox:
    intervention = dv.RegionBox(dv.Constant(0.0), controls, seed, objects)
    intervention.bind(images, "test")
    return intervention


def regions(intervention, images, sample) -> dict[str, dv.Box]:
    """By the unit's name, but for the empty ones."""
    found = {
        name: intervention.region(images.shape, unit, sample)
        for unit, name in enumerate(intervention.units(images.shape))
    }
    return {name: box for name, box in found.items() if box.area}


def test_units_are_objects_with_their_controls_those_that_speak_for_a_class_first(boxed):
    names = bound(boxed(TWO)).units((1, 12, 12))
    objects = ("nodule0", "nodule1", "tag")
    assert names == tuple(f"{obj}{suffix}" for obj in objects for suffix in ("", " control 0", " control 1"))


def test_a_objects_region_is_its_box_and_empty_where_there_is_none(boxed):
    images = boxed([*TWO, (4, "tag", None, 5, 5, 5, 9)])
    intervention = bound(images)
    assert regions(intervention, images, 0)["nodule1"] == dv.Box(6, 6, 9, 8)
    assert [name for name in regions(intervention, images, 3) if "control" not in name] == ["nodule0"]
    for sample in (4, 5):
        assert regions(intervention, images, sample) == {}
        assert intervention.region(images.shape, 3, sample) == NOTHING


edges = st.tuples(st.integers(1, 9), st.integers(1, 9), st.floats(0, 0.99), st.floats(0, 0.99))


@st.composite
def scenes(draw):
    """An image's shape, and boxes inside it."""
    shape = 1, draw(st.integers(3, 9)), draw(st.integers(3, 9))
    boxes = []
    for height, width, down, across in draw(st.lists(edges, min_size=1, max_size=4)):
        height, width = min(height, shape[1]), min(width, shape[2])
        top, left = int(down * (shape[1] - height + 1)), int(across * (shape[2] - width + 1))
        boxes.append(dv.Box(top, left, top + height, left + width))
    return shape, boxes


def free(box: dv.Box, shape, taken) -> set[dv.Box]:
    """All places of a box, found one by one."""
    corners = itertools.product(range(shape[1] - box.height + 1), range(shape[2] - box.width + 1))
    moved = [dv.Box(top, left, top + box.height, left + box.width) for top, left in corners]
    return {place for place in moved if not any(meet(place, other) for other in taken)}


def meet(a: dv.Box, b: dv.Box) -> bool:
    return a.top < b.bottom and b.top < a.bottom and a.left < b.right and b.left < a.right


@settings(max_examples=150, deadline=None)
@given(scene=scenes(), seed=st.integers(0, 1000))
def test_controls_are_as_large_inside_and_beside_all_boxes_or_at_least_beside_their_own(scene, seed, boxed):
    shape, boxes = scene
    images = boxed([(7, f"object{number}", None, *box) for number, box in enumerate(boxes)], shape)
    found = regions(bound(images, controls=3, seed=seed), images, 7)
    for number, box in enumerate(boxes):
        legal = free(box, shape, boxes) or free(box, shape, [box])
        controls = [region for name, region in found.items() if name.startswith(f"object{number} ")]
        assert len(controls) == (3 if legal else 0)
        assert set(controls) <= legal


def test_every_place_is_as_likely_as_any_other(boxed):
    images = boxed([(sample, "spot", None, 1, 1, 2, 3) for sample in range(1200)], (1, 4, 4))
    intervention = bound(images, controls=1)
    seen = [intervention.region(images.shape, 1, sample) for sample in range(1200)]
    counts = [seen.count(place) for place in free(dv.Box(1, 1, 2, 3), images.shape, [dv.Box(1, 1, 2, 3)])]
    assert len(counts) == 9
    assert sum(counts) == 1200
    assert stats.chisquare(counts).pvalue > 0.01


def test_a_box_without_room_beside_it_has_no_control_and_the_log_counts_them_once(boxed, caplog):
    images = boxed([(0, "heart", None, 0, 0, 7, 12), (1, "heart", None, 0, 0, 6, 12)])
    with caplog.at_level(logging.WARNING):
        intervention = bound(images)
    assert [record.message for record in caplog.records] == [
        "2 control boxes are left out: beside their objects there is no room for them"
    ]
    assert set(regions(intervention, images, 0)) == {"heart"}
    assert regions(intervention, images, 1)["heart control 1"] == dv.Box(6, 0, 12, 12)


@pytest.mark.parametrize("objects", [["nodule"], ListConfig(["nodule"]), "nodule"])
def test_objects_may_be_chosen_by_their_kind(objects, boxed):
    assert bound(boxed(TWO), controls=1, objects=objects).units((1, 12, 12))[::2] == ("nodule0", "nodule1")
