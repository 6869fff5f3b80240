"""Autoencoders inserted into networks: as incremental, and as exact, as the networks without them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision

from dovision.functional.geometry import grid_cell
from dovision.interfaces import Context
from dovision.interventions.activation import Activation
from dovision.interventions.values import Steering
from dovision.models.conv_autoencoder import ConvAutoencoder, insert
from dovision.models.topk_sae import TopkSae
from dovision.propagation import Propagation
from dovision.propagation.edits import Pairs
from dovision.propagation.operations import Operations
from dovision.types import CODE

from .conftest import Painted, assert_equal, batch_of, classifier_of, expected_outcome, with_statistics

SHAPE = (3, 64, 64)
BEHIND = {  # an earlier layer whose channels are set, the layer that the autoencoder follows, and its channels
    "resnet18": ("layer1", "layer2.0", 128),
    "squeezenet1_1": ("features.3", "features.6", 256),
    "mobilenet_v3_small": ("features.1", "features.3", 24),
    "shufflenet_v2_x0_5": ("maxpool", "stage2.1", 48),
}
KEPT = 0.95  # of the operations saved without an autoencoder, at least


def with_autoencoder(name, form):
    torch.manual_seed(0)
    _, layer, channels = BEHIND[name]
    classifier = classifier_of(with_statistics(torchvision.models.get_model(name, weights=None, num_classes=5)))
    classifier.requires_grad_(False)
    if form == "topk":
        return insert(classifier, TopkSae(layer, channels, expansion=4, k=8, dead_after=100), SHAPE).eval()
    if form == "conv":
        return insert(classifier, ConvAutoencoder(layer, [channels, 16, channels], 1, kernel_size=1), SHAPE).eval()
    return classifier


def saved(classifier, intervention, batch):
    """Operations saved of a whole pass, with the outcome checked."""
    propagation = Propagation(classifier, intervention)
    assert_equal(propagation(batch), expected_outcome(classifier, intervention, batch))
    (share,) = propagation._engines.saved.values()
    return share * propagation._engines.whole.number


@pytest.mark.parametrize("name", BEHIND)
def test_an_autoencoder_inside_leaves_pixels_latents_and_channels_incremental(name):
    cells = Painted([[grid_cell(SHAPE, unit, 16, 16)] for unit in (0, 88, 255)])
    channels, latents = Activation(BEHIND[name][0], choose=[0, 3]), Activation(CODE, unit="latent", choose=[0, 3])
    batch = batch_of(1, *SHAPE)
    plain = with_autoencoder(name, "none")
    without = [saved(plain, intervention, batch) for intervention in (cells, channels)]
    for form in ("conv", "topk"):
        classifier = with_autoencoder(name, form)
        of_cells, of_channels, of_latents = (saved(classifier, made, batch) for made in (cells, channels, latents))
        assert of_cells >= KEPT * without[0], form
        assert of_latents >= of_channels >= KEPT * without[1], form  # the code comes after the channels' layer


@pytest.mark.parametrize("sets", [None, "pairs"])
@torch.no_grad()
def test_a_latent_of_the_last_layer_costs_a_row_of_its_decoder(sets):
    torch.manual_seed(0)
    classifier = classifier_of(with_statistics(torchvision.models.resnet18(num_classes=5))).requires_grad_(False)
    inserted = insert(classifier, TopkSae("layer4.1", 512, expansion=4, k=8, dead_after=100), (3, 96, 96)).eval()
    value = Steering([float(number % 5 - 2) for number in range(2048)], strength=0.5)
    latents = Activation(CODE, unit="latent", value=value, choose=[0, 1, 3, 700], sets=sets)
    batch, propagation = batch_of(2, 3, 96, 96), Propagation(inserted, latents)
    assert_equal(propagation(batch), expected_outcome(inserted, latents, batch))
    (engine,) = propagation._engines.chosen.values()
    if engine.decoder is None:  # its layers cannot be packed here
        return
    clean, decoding = engine.clean(batch.image), 2 * 4 * 9 * 512 * 2048  # operations, of four maps of 3 x 3
    for image in ([0, 0, 0, 0], [0, 1, 0, 1]):
        pairs = Pairs(np.array(image), np.arange(4) + (6 if sets else 0), None)  # sets follow single latents
        with Operations() as counted:
            engine.treated(clean, pairs, latents, Context(batch, inserted))
        assert counted.number >= decoding if sets else counted.number < decoding / 8
