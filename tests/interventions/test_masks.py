"""Masks and their controls, against hand-written painting and a search of all places."""

import numpy as np
import torch

import dovision as dv

L_SHAPE = torch.tensor([[1, 0], [1, 0], [1, 1]], dtype=torch.bool)


def placed(shape: tuple[int, int], top: int, left: int, mask=L_SHAPE) -> torch.Tensor:
    """A mask at a place of an image of this shape."""
    whole = torch.zeros(shape, dtype=torch.bool)
    whole[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return whole


def touched(intervention, shape, unit: str, sample: int = 0) -> np.ndarray:
    """The pixels that a unit touches, shape (H, W)."""
    number = intervention.units(shape).index(unit)
    region, whole = intervention.region(shape, number, sample), np.zeros(shape[1:], dtype=bool)
    whole[region.slices] = intervention.mask(shape, number, sample)
    return whole


def test_images_whose_masks_share_a_box_are_each_painted_on_their_own_pixels(context):
    size = tuple(context.batch.image.shape[2:])
    shapes = [L_SHAPE, L_SHAPE.flip(1), L_SHAPE, torch.ones(3, 2, dtype=torch.bool)]
    masks = torch.stack([placed(size, 2, 3, shape) for shape in shapes])
    found = dv.effect_map(context.classifier, context.batch.image, dv.Brush(masks, dv.Constant(1.0)))
    painted = torch.where(masks.unsqueeze(1), torch.ones(()), context.batch.image)
    with torch.no_grad():
        expected = context.classifier(painted).softmax(-1) - found.control
    torch.testing.assert_close(found.effect[:, 0], expected, rtol=0, atol=1e-6)
    largest = found.control.argmax(-1)
    for row, (mask, effect) in enumerate(zip(masks, found.effect[:, 0], strict=True)):
        assert (found.map[row][mask] == -effect[largest[row]]).all()
        assert (found.map[row][~mask] == 0).all()


def bound(mask, images, controls=1, seed=0) -> dv.Brush:
    intervention = dv.Brush(mask, dv.Constant(0.0), controls, seed)
    intervention.bind(images, "test")
    return intervention


def test_controls_have_the_shape_of_the_mask_and_meet_neither_masks_nor_known_objects(boxed):
    shape = (1, 12, 12)
    images = boxed([(0, "tag", None, 6, 0, 12, 12)], shape)
    own, other = placed((12, 12), 0, 0), placed((12, 12), 0, 9, torch.ones(3, 3, dtype=torch.bool))
    intervention = bound({"own": own, "other": other}, images, controls=20)
    taken = (own | other).numpy()
    taken[6:] = True
    places = set()
    for control in range(20):
        pixels = touched(intervention, shape, f"own control {control}")
        assert pixels.sum() == 4
        assert not (pixels & taken).any()
        (top, left) = np.argwhere(pixels)[0]
        assert np.array_equal(pixels, placed((12, 12), top, left).numpy())
        places.add((int(top), int(left)))
    assert len(places) > 5


def test_a_shape_that_fits_nowhere_as_it_is_is_turned(boxed):
    shape, line = (1, 4, 3), torch.zeros(4, 3, dtype=torch.bool)
    line[0] = True
    intervention = bound(line, boxed([(0, "tag", None, 1, 0, 4, 1)], shape), controls=20)
    seen = {tuple(map(tuple, np.argwhere(touched(intervention, shape, f"brush control {k}")))) for k in range(20)}
    assert seen == {tuple((row, column) for row in (1, 2, 3)) for column in (1, 2)}


def test_a_mask_without_room_has_no_control(boxed):
    shape = (1, 4, 4)
    intervention = bound(torch.ones(4, 4, dtype=torch.bool), boxed([], shape))
    assert touched(intervention, shape, "brush").all()
    assert not touched(intervention, shape, "brush control 0").any()
