"""Effect maps and boxes as layers over a picture, worked out by hand."""

import numpy as np
import pandas as pd
import torch

from dovision.store.map_tables import write_boxes
from dovision.store.thumbnails import save_image, thumbnail_path
from dovision.tracking.wandb_logger import layered
from dovision.types import BOX_COLUMNS

CELLS = {"top": [0, 0, 2, 2], "left": [0, 2, 0, 2], "bottom": [2, 2, 4, 4], "right": [2, 4, 2, 4]}


def effects(**columns):
    facts = {
        "sample": 3,
        "condition": "eps=0.1",
        "predicted": "seven",
        "label": "one",
        "effect": [-0.5, -0.15, 0.05, 0.2],
    }
    return pd.DataFrame(facts | CELLS | columns)


def write(folder):
    save_image(thumbnail_path(folder, 3, "eps=0.1"), torch.full((1, 4, 5), 0.2))
    rows = [(3, "tag", None, 0, 1, 2, 3), (4, "tag", None, 1, 1, 2, 2)]
    write_boxes(folder, pd.DataFrame(rows, columns=BOX_COLUMNS))


def test_levels_are_fifths_of_the_largest_effect_and_boxes_those_of_the_sample(tmp_path):
    write(tmp_path)
    (found,) = layered(tmp_path, effects())
    assert found.caption == "sample 3, eps=0.1: predicted: seven, true: one"
    assert np.unique(found.picture).tolist() == [51]
    assert found.levels.tolist() == [[1, 1, 2, 2, 0], [1, 1, 2, 2, 0], [3, 3, 4, 4, 0], [3, 3, 4, 4, 0]]
    assert found.boxes[["object", "left", "right"]].to_numpy().tolist() == [["tag", 1, 3]]


def test_all_pictures_of_a_job_share_one_scale(tmp_path):
    write(tmp_path)
    save_image(thumbnail_path(tmp_path, 3, "clean"), torch.full((1, 4, 5), 0.2))
    weak = effects(condition="clean", effect=[-0.05, -0.01, 0.01, 0.05])
    strong, faint = layered(tmp_path, pd.concat([effects(), weak]))
    assert strong.levels.max() == 4
    assert np.unique(faint.levels).tolist() == [0, 3]


def test_units_without_a_place_have_no_layers_and_no_effect_is_hardly_anything(tmp_path):
    write(tmp_path)
    assert list(layered(tmp_path, effects(top=np.nan))) == []
    (found,) = layered(tmp_path, effects(effect=0.0))
    assert np.unique(found.levels).tolist() == [0, 3]
