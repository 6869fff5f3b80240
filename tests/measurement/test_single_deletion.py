"""Losses of single patches, and the correlation of maps with them, on a linear network whose losses are known."""

import numpy as np
import pytest
import torch
from torch import nn

import dovision as dv
from dovision.results.image_tables import CONTENT, HARD, SOFT
from dovision.types import Batch

WEIGHTS = torch.tensor([[0.01, 0.04], [0.02, -0.03]])  # of the pixels of each patch, in the log-odds of class "a"
PIXELS = WEIGHTS.repeat_interleave(4, 0).repeat_interleave(4, 1)  # 8 x 8
NUMBER = torch.arange(2)
BATCH = Batch(torch.ones(2, 1, 8, 8), NUMBER * 0, NUMBER, NUMBER)


@pytest.fixture
def classifier():
    linear = nn.Linear(64, 2, bias=False)
    linear.weight.data = torch.stack([PIXELS.flatten(), torch.zeros(64)])
    task = dv.Task("multiclass", ("a", "b"))
    return dv.Classifier(nn.Sequential(nn.Flatten(), linear), task, [0.0], [1.0]).eval()


def test_losses_are_those_of_the_pixels_that_are_painted(classifier):
    truth = dv.SingleDeletion(dv.Constant(0.0), cells=2, donors=[dv.Constant(0.0), dv.Constant(0.5)])
    losses = truth.losses(BATCH, torch.tensor([0, 1]), classifier)
    hard = 16 * WEIGHTS.flatten().numpy()
    np.testing.assert_allclose(losses[HARD], [hard, -hard], atol=1e-6)  # the log-odds of b are minus those of a
    np.testing.assert_allclose(losses[CONTENT], 0.75 * losses[SOFT], atol=1e-6)  # the mean of all and of half of it
    assert not np.allclose(losses[SOFT], losses[HARD], atol=1e-2)
    np.testing.assert_allclose(losses[SOFT].sum(1), losses[HARD].sum(1), atol=1e-3)  # shares of the fill add up to 1


def test_a_map_is_ranked_by_its_mean_over_each_patch(classifier):
    truth = dv.SingleDeletion(dv.Constant(0.0), cells=2)
    losses = truth.losses(BATCH, NUMBER * 0, classifier)
    scores = truth.scores(torch.stack([PIXELS, -PIXELS]), losses)
    assert scores[HARD] == scores[SOFT] == pytest.approx([1.0, -1.0])
    assert truth.scores(torch.ones(2, 8, 8), losses)[SOFT] == [None, None]
