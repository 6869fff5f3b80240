"""Edges of painted cells against numbers worked out by hand, on a network that reads edges or content alone."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

import dovision as dv
from dovision.interfaces import Context
from dovision.interventions._objects import NO_REGION
from dovision.interventions.edge_control import Elsewhere, Repaint, Version
from dovision.propagation import Propagation
from made_batches import batch_of

GREY = torch.full((1, 1, 8, 8), 0.5)
CELL = dv.PixelGrid(2, 2)


def context(image: torch.Tensor = GREY) -> Context:
    return Context(batch_of(image), None)


def applied(intervention: dv.Intervention, unit: str, image: torch.Tensor = GREY) -> torch.Tensor:
    return intervention.apply(image, intervention.units((1, 8, 8)).index(unit), context(image))[0, 0]


def test_a_frame_has_the_border_pixels_of_its_cell_and_nothing_else_is_painted():
    grey = torch.full((1, 1, 12, 12), 0.5)
    expected = grey[0, 0].clone()
    expected[4:8, 4:8] = 0.0
    expected[5:7, 5:7] = 0.5
    middle = dv.EdgeControl(dv.PixelGrid(3, 3), frame=1)
    assert torch.equal(middle.apply(grey, middle.units((1, 12, 12)).index("r1c1 frame"), context(grey))[0, 0], expected)


class TopRow(nn.Module):
    def forward(self, image):
        top = image[:, 0, 0].sum(1)
        return torch.stack([torch.zeros_like(top), top], 1)


def test_an_effect_on_the_border_of_the_image_lies_beyond_the_frame():
    effects = effect(TopRow(), dv.EdgeControl(dv.PixelGrid(1, 2), frame=1))
    assert effects["r0c0"] == pytest.approx(-4 * 0.5)
    assert effects["r0c0 frame"] == pytest.approx(-0.5)  # of the pixel at the seam of both halves


def test_a_unit_with_a_hard_edge_is_that_of_the_intervention_bit_for_bit():
    image = torch.rand(1, 1, 8, 8)
    assert torch.equal(applied(dv.EdgeControl(CELL), "r1c0", image), applied(CELL, "r1c0", image))


def test_a_soft_edge_is_the_mask_smoothed_by_a_gaussian():
    inside = np.zeros((8, 8))
    inside[4:, :4] = 1
    share = ndimage.gaussian_filter(inside, 0.7, mode="nearest")
    soft = applied(dv.EdgeControl(CELL, frame=0, soft=0.7 / 4), "r1c0")
    np.testing.assert_allclose(soft, 0.5 * (1 - share), atol=1e-6)


def test_soft_edges_leave_the_fill_in_the_middle_or_are_refused():
    assert applied(dv.EdgeControl(CELL, frame=0, soft=0.25), "r0c0").min() <= 0.1
    with pytest.raises(ValueError, match=r"soft must be .*0\.3.*got 0\.5"):
        dv.EdgeControl(CELL, soft=0.5)
    with pytest.raises(ValueError, match=r"soft must leave a share of 0\.8.*got 0\.3.*region of 2 x 2 pixels"):
        applied(dv.EdgeControl(dv.PixelGrid(4, 4), frame=0, soft=0.3), "r1c1")


def test_segments_have_the_frames_of_their_masks():
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:7, 2:7] = True
    mask[2, 2] = False  # the frame goes around the missing corner
    framed = applied(dv.EdgeControl(dv.Brush(mask), frame=1), "brush frame") == 0
    expected = mask.clone()
    expected[3:6, 3:6] = False
    expected[3, 3] = True
    assert torch.equal(framed, expected)


def effect(network: nn.Module, intervention: dv.Intervention) -> dict[str, float]:
    outcome = Propagation(dv.wrap(network, ["no", "yes"]), intervention)(context().batch)
    return dict(zip(outcome.units, (outcome.treated[0] - outcome.control)[:, 1].tolist(), strict=True))


def test_a_map_paints_a_soft_cell_where_the_cell_lies_and_no_frame():
    soft = dv.EdgeControl(CELL, frame=1, soft=0.7 / 4)
    assert soft.on_image((1, 8, 8), 0, 0) == dv.Box(0, 0, 4, 4)
    assert soft.on_image((1, 8, 8), 4, 0) is None


def test_a_moved_region_is_of_the_same_size_and_overlaps_neither_itself_nor_another_sample_s_draw():
    moved = Repaint(CELL, {" moved": Elsewhere(seed=3)})
    boxes = [moved.region((1, 8, 8), 0, sample) for sample in range(40)]
    assert {(box.height, box.width) for box in boxes} == {(4, 4)}
    assert all(box.top >= 4 or box.left >= 4 for box in boxes)
    assert len(set(boxes)) > 5


def test_a_region_of_more_than_half_of_the_image_has_no_room_elsewhere():
    assert Repaint(dv.PixelGrid(1, 1), {"": Elsewhere(0)}).region((1, 8, 8), 0, 0) == NO_REGION


def test_samples_without_a_chosen_unit_are_left_alone():
    chosen = Repaint(CELL, {"": Version()}, only={0: ["r0c1"], 1: []})
    assert chosen.units((1, 8, 8)) == ("r0c1",)
    assert chosen.region((1, 8, 8), 0, 0) == dv.Box(0, 4, 4, 8)
    assert chosen.region((1, 8, 8), 0, 1) == NO_REGION
