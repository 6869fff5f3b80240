"""Units painted together: over objects, and by their evidence, against a classifier that adds up pixels."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import dovision as dv
from dovision.interfaces import Context
from dovision.interventions.object_cells import object_cells
from dovision.measurement.sets import SetMeasurement
from dovision.propagation import Propagation
from dovision.types import Box
from made_batches import batch_of

BOXES = {"tag": Box(1, 1, 3, 3), "nodule": Box(3, 5, 7, 6)}  # in one cell of 4 x 4, and across two
ROWS = [(sample, name, None, *box) for sample in (0, 1) for name, box in BOXES.items()]


@pytest.fixture(scope="module")
def batch():
    return batch_of(torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def classifier():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    return dv.wrap(network, ["dark", "bright"])


@pytest.mark.parametrize("intervention", [dv.PixelGrid(2, 2), dv.EdgeControl(dv.PixelGrid(2, 2), frame=1)])
def test_an_object_is_painted_whole_in_all_cells_that_it_touches(intervention, classifier, batch, boxed):
    objects = object_cells(intervention, boxed(ROWS, (1, 8, 8)), "test")
    assert {name: objects.members(0, name) for name in BOXES} == {"tag": [0], "nodule": [1, 3]}
    sets = SetMeasurement(classifier, intervention, objects, (), "auto")
    rows = sets.object_rows("clean", batch, torch.tensor([[False, True]] * 2))
    assert set(rows["class"]) == {"bright"}
    found = rows[rows["draw"] == 0].set_index(["set", "sample"]).sort_index()
    assert found["covered"].tolist() == [1.0] * 4
    for name, cells, painted in (("tag", 1, Box(0, 0, 4, 4)), ("nodule", 2, Box(0, 4, 8, 8))):
        image = batch.image.clone()
        painted.crop(image).zero_()
        expected = classifier.task.probability(classifier(image))[:, 1].detach().numpy()
        assert found.loc[name, "treated"].to_numpy() == pytest.approx(expected, abs=1e-6)
        assert found.loc[name, "cells"].tolist() == [cells] * 2
    controls = rows[rows["draw"] > 0]
    assert controls["covered"].isna().all()
    assert controls.groupby(["sample", "set"]).size().tolist() == [4] * 4


def test_a_segmented_or_unbound_intervention_on_other_things_has_no_sets(boxed):
    boxes = dv.RegionBox(dv.Constant(0.0), controls=1, seed=0)
    for intervention in (boxes, dv.Activation("1"), dv.EdgeControl(dv.PixelGrid(2, 2), frame=0, soft=0.2)):
        assert object_cells(intervention, boxed(ROWS, (1, 8, 8)), "test") is None


def test_a_set_that_spans_the_image_is_left_out(boxed):
    assert not object_cells(dv.PixelGrid(1, 1), boxed(ROWS, (1, 8, 8)), "test").masks(0)


@pytest.mark.parametrize("fill", [dv.Constant(0.0), dv.Inpaint()])  # each cell from its own surroundings
def test_the_cells_of_most_evidence_come_first_and_random_ones_by_the_sample(classifier, batch, fill):
    grid = dv.PixelGrid(4, 4, fill=fill)
    context = Context(batch.rows([1]), classifier)
    outcome = Propagation(classifier, grid)(batch)
    sets = SetMeasurement(classifier, grid, None, [1], "auto")
    (rows,) = sets.ranked_rows("clean", batch, outcome)
    label = int(outcome.control[1].argmax())
    assert set(rows["class"]) == {classifier.task.classes[label]}
    assert set(rows["sample"]) == {1}
    effect = (outcome.treated[1].softmax(-1) - outcome.control[1].softmax(-1))[:, label].numpy()
    treated = rows.set_index(["set", "cells", "draw"])["treated"]
    for name, order in (("most", np.argsort(effect)), ("least", np.argsort(np.abs(effect)))):
        image = batch.image[1:].clone()
        for number, cell in enumerate(order[:14], start=1):
            place = grid.region((1, 8, 8), int(cell), 1)
            place.crop(image).copy_(place.crop(grid.apply(batch.image[1:], int(cell), context)))
            if number in (1, 2, 4, 14):
                with torch.no_grad():
                    p = float(classifier(image).softmax(-1)[0, label])
                assert treated[name, number, 0] == pytest.approx(p, abs=1e-6)
    assert treated["random"].index.get_level_values("draw").nunique() == 8
    (again,) = sets.ranked_rows(
        "clean", batch.rows([1]), outcome._replace(control=outcome.control[1:], treated=outcome.treated[1:])
    )
    pd.testing.assert_frame_equal(rows.reset_index(drop=True), again.reset_index(drop=True), rtol=1e-5)
