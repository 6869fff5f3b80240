"""The repr of a component makes it again."""

from __future__ import annotations

import copy
import pickle

import pytest

import dovision as dv

LOSSES = ("dlr", "margin", "task_loss")
NAMES = {name: getattr(dv, name) for name in dir(dv) if name[0].isupper() or name in LOSSES}
GROUPS = {
    "attack": ["pgd", "fgsm", "square"],
    "intervention": ["pixel_grid", "transform"],
    "explainer": ["grad_cam", "effect_map", "random_map"],
    "detector": ["max_softmax", "feature_squeezing"],
    "fill": ["blur", "constant"],
}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, names in GROUPS.items() for name in names])
def test_a_repr_can_be_pasted(group, name):
    made = dv.component(group, name)
    again = eval(repr(made), dict(NAMES))
    assert type(again) is type(made)
    assert repr(again) == repr(made) == repr(pickle.loads(pickle.dumps(made))) == repr(copy.copy(made))


def test_arguments_are_named():
    assert repr(dv.PixelGrid(7, 5, fill=dv.Blur(4))) == "PixelGrid(rows=7, columns=5, fill=Blur(sigma=4))"
    assert repr(dv.CenterMap()) == "CenterMap()"
