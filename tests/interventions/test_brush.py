"""Masks given as tensors: what is taken, what is refused, and captum's FeatureAblation."""

from __future__ import annotations

import captum.attr
import torch

import dovision as dv
from dovision.interventions.brush import Brush
from dovision.interventions.fills import Constant


def test_names_are_those_given_with_their_controls():
    mask = torch.ones(4, 4, dtype=torch.bool)
    assert Brush(mask).units((1, 4, 4)) == ("brush",)
    named = Brush({"beak": mask, "eye": mask}, controls=1)
    assert named.units((1, 4, 4)) == ("beak", "beak control 0", "eye", "eye control 0")


def test_effects_are_those_of_captums_feature_ablation(context):
    classifier, image = context.classifier, context.batch.image
    labels = torch.randint(3, image.shape[2:], generator=torch.Generator().manual_seed(0))
    masks = {str(number): labels == number for number in range(3)}
    peer = captum.attr.FeatureAblation(lambda image: classifier(image).softmax(-1))
    expected = peer.attribute(image, 0.5, 1, feature_mask=labels[None, None])[:, 0]
    found = dv.effect_map(classifier, image, Brush(masks, Constant(0.5)), target=1)
    torch.testing.assert_close(found.map, expected, rtol=0, atol=1e-6)


def test_a_change_of_the_tensor_afterwards_changes_nothing():
    mask = torch.ones(4, 4, dtype=torch.bool)
    brush = Brush(mask)
    mask[:] = False
    assert brush.mask((1, 4, 4), 0, 0).all()
