"""Superpixels, against scikit-image's own, hand-written painting and captum's FeatureAblation."""

import captum.attr
import numpy as np
import pytest
import torch
from torch import Tensor

from dovision.explainers.effect_map import EffectMap
from dovision.interventions.fills import Constant
from dovision.interventions.segments import Segments, merged

segmentation = pytest.importorskip("skimage.segmentation", reason="the extra segments is not installed")


def label_map(segments: Segments, shape, sample: int) -> Tensor:
    """The unit that each pixel belongs to, by what the units touch."""
    labels = torch.full(shape[1:], -1)
    for unit in range(len(segments.units(shape))):
        box = segments.region(shape, unit, sample)
        own = box.crop(labels)
        mask = torch.from_numpy(segments.mask(shape, unit, sample))
        assert (own[mask] == -1).all()
        own[mask] = unit
    return labels


@pytest.mark.parametrize(("number", "compactness"), [(6, 10.0), (12, 1.0)])
def test_units_are_the_segments_of_scikit_image(phantom, number, compactness):
    segments = Segments(number, compactness=compactness)
    segments.bind(phantom, "test")
    for sample in range(3):
        image = phantom.split("test")[sample].image.expand(3, -1, -1).permute(1, 2, 0).double().numpy()
        expected = segmentation.slic(image, number, compactness, start_label=0, channel_axis=-1)
        found = label_map(segments, phantom.shape, sample)
        if expected.max() < number:
            assert np.array_equal(found.numpy(), expected)
        assert found.min() == 0


def test_surplus_segments_join_the_neighbour_of_the_longest_border():
    labels = np.array([[0, 0, 0, 1], [0, 0, 2, 1], [3, 3, 3, 1], [3, 3, 3, 1]])
    assert np.array_equal(merged(labels, 4), labels)
    joined = np.array([[0, 0, 0, 1], [0, 0, 0, 1], [2, 2, 2, 1], [2, 2, 2, 1]])
    # the single pixel of 2 borders on 0 twice, on 1 once and on 3 once
    assert np.array_equal(merged(labels, 3), joined)
    assert (merged(labels, 1) == 0).all()


def test_the_map_is_that_of_captums_feature_ablation(context):
    classifier, batch, target = context.classifier, context.batch, torch.tensor([2, 0, 1, 2])
    peer = captum.attr.FeatureAblation(lambda image: classifier(image).softmax(-1))
    segments = Segments(8, Constant(0.5), compactness=100)
    maps = EffectMap(segments)(batch, target, classifier)
    assert len(maps[0].unique()) > 1
    for row in range(len(batch.image)):
        one = batch.rows([row])
        labels = label_map(segments.for_images(one), tuple(batch.image.shape[1:]), int(one.sample))
        expected = peer.attribute(one.image, 0.5, int(target[row]), feature_mask=labels[None, None])
        torch.testing.assert_close(maps[row], expected[0, 0], rtol=0, atol=1e-6)


def test_an_attacked_image_is_painted_on_the_segments_of_the_clean_one(phantom, films):
    segments = Segments(8)
    segments.bind(phantom, "test")
    noisy = films.batch._replace(image=torch.rand_like(films.batch.image))
    assert segments.for_images(noisy) is segments
