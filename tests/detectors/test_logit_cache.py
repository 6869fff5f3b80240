from __future__ import annotations

import pytest
import torch

from dovision.detectors._logit_cache import cached, logits_of
from dovision.detectors.confidence import Entropy, MaxSoftmax

from .conftest import batch_of, images, made


@pytest.fixture
def counted():
    """A classifier, and the list of how many images it was asked about in each pass."""
    classifier, _ = made("multiclass")
    asked = []
    classifier.register_forward_pre_hook(lambda module, inputs: asked.append(len(inputs[0])))
    return classifier, asked


@torch.no_grad()
def test_detectors_that_read_the_same_images_share_a_pass(counted):
    classifier, asked = counted
    batch = batch_of(images(3))
    for detector in (MaxSoftmax(), Entropy(), MaxSoftmax()):
        detector.read(batch, classifier, None)
    assert asked == [3]


@torch.no_grad()
def test_other_images_changed_images_and_other_weights_are_read_anew(counted):
    classifier, asked = counted
    image = images(2)
    first = logits_of(image, classifier)
    torch.testing.assert_close(logits_of(image.clone(), classifier), first)
    image.mul_(0.5)
    torch.testing.assert_close(logits_of(image, classifier), classifier(image))
    classifier.network.linear.weight.mul_(3)
    torch.testing.assert_close(logits_of(image, classifier), classifier(image))
    assert len(asked) == 6


def test_with_gradients_nothing_is_remembered(counted):
    classifier, asked = counted
    image = images(2).requires_grad_()
    for _ in range(2):
        assert logits_of(image, classifier).requires_grad
    assert asked == [2, 2]


def test_an_answer_is_kept_under_its_own_key():
    image = images(1)
    assert [cached(image, key, lambda key=key: key.upper()) for key in ("a", "b")] == ["A", "B"]
    assert cached(image, "a", lambda: "another") == "A"
