"""Linear probes of layers, and the entropy under a sliding mask, against cases solved by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.detectors.layer_probes import LayerProbes
from dovision.detectors.sliding_mask_entropy import SlidingMaskEntropy
from dovision.interfaces import Classifier, Context
from dovision.interventions.sliding_window import SlidingWindow
from dovision.types import Task

from .conftest import batch_of, images, made

TASK = Task("multiclass", ("a", "b", "c"))


def chain(*layers: nn.Module) -> Classifier:
    torch.manual_seed(0)
    return Classifier(nn.Sequential(nn.Flatten(), *layers), TASK, (0.5,), (0.25,)).double().eval()


def test_probes_of_linear_layers_agree_with_the_output_everywhere():
    classifier = chain(nn.Linear(196, 8), nn.Linear(8, 3))
    detector = LayerProbes(None, cells=1)
    detector.prepare([batch_of(images(200))], classifier, None)
    read = detector.read(batch_of(images(5, seed=9)), classifier, None)
    assert read.shape == (5, 4)
    torch.testing.assert_close(read, torch.zeros_like(read), rtol=0, atol=0.02)


def test_a_probe_that_falls_short_of_the_output_is_read_as_a_loss_of_log_odds():
    classifier = chain(nn.Linear(196, 8), nn.Linear(8, 3))
    detector = LayerProbes(["1"], cells=1)
    detector.prepare([batch_of(images(200))], classifier, None)
    with torch.no_grad():
        classifier.network[2].bias[1] += 5.0  # which is predicted now, and which the probe does not know
    batch = batch_of(images(5, seed=9))
    logits = classifier(batch.image)
    shifted = logits - torch.tensor([0.0, 5.0, 0.0])
    loss, distance = detector.read(batch, classifier, None).unbind(1)
    expected = TASK.log_odds(logits)[:, 1] - TASK.log_odds(shifted)[:, 1]
    torch.testing.assert_close(loss.sinh() * 0.01, expected, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(distance, (logits.softmax(1) - shifted.softmax(1)).abs().sum(1), rtol=1e-2, atol=1e-2)


def test_an_image_is_read_by_probes_that_have_not_seen_its_patient():
    classifier, batch = chain(nn.Linear(196, 500), nn.ReLU(), nn.Linear(500, 3)), batch_of(images(40))
    other = batch._replace(image=batch.image.index_put((torch.tensor([7]),), batch.image[7] + 1))
    reads = []
    for fitted_to in (batch, other):
        detector = LayerProbes(["2"], cells=1)
        detector.prepare([fitted_to], classifier, None)
        reads.append(detector.read(batch, classifier, None))
    same = (reads[0] == reads[1]).all(1)
    assert same[7]
    assert 10 < same.sum() < 30  # its half


def test_probes_need_images_of_both_halves():
    with pytest.raises(ValueError, match="at least 2 clean images in each half of the patients"):
        LayerProbes(["1"], cells=1).prepare([batch_of(images(2))], chain(nn.Linear(196, 3)), None)


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_the_mean_entropy_under_a_mask_is_that_of_passes_one_by_one(kind):
    classifier, _ = made(kind)
    batch, mask = batch_of(images(4)), SlidingWindow(6, stride=4)
    detector = SlidingMaskEntropy({"mask": mask})
    with torch.no_grad():
        read = detector.read(batch, classifier, None)
        masked = [mask.apply(batch.image, unit, Context(batch, classifier)) for unit in range(9)]
        entropy = []
        for image in masked:
            probability = classifier.task.probability(classifier(image))
            if kind == "multilabel":
                of_labels = torch.distributions.Bernoulli(probability).entropy().sum(1)
            else:
                of_labels = torch.distributions.Categorical(probability).entropy()
            entropy.append(of_labels)
    torch.testing.assert_close(read[:, 0], torch.stack(entropy).mean(0), rtol=1e-6, atol=1e-8)
    assert detector.passes == 11
