"""Autoencoders inserted into networks: as incremental, and as exact, as the networks without them."""

import pytest
import torch
import torchvision

from dovision.functional.geometry import grid_cell
from dovision.interventions.activation import Activation
from dovision.interventions.values import Steering
from dovision.models.conv_autoencoder import ConvAutoencoder, insert
from dovision.models.topk_sae import TopkSae
from dovision.propagation.incremental import Incremental
from dovision.types import CODE

from .conftest import Painted, agreeing, batch_of, classifier_of, with_statistics

SHAPE = (3, 64, 64)
BEHIND = {  # an earlier layer whose channels are set, the layer that the autoencoder follows, and its channels
    "resnet18": ("layer1", "layer2.0", 128),
    "squeezenet1_1": ("features.3", "features.6", 256),
    "mobilenet_v3_small": ("features.1", "features.3", 24),
    "shufflenet_v2_x0_5": ("maxpool", "stage2.1", 48),
}


def with_autoencoder(name, form):
    torch.manual_seed(0)
    _, layer, channels = BEHIND[name]
    classifier = classifier_of(with_statistics(torchvision.models.get_model(name, weights=None, num_classes=5)))
    autoencoder = {
        "topk": TopkSae(layer, channels, expansion=4, k=8, dead_after=100),
        "conv": ConvAutoencoder(layer, [channels, 16, channels], 1, kernel_size=1),
    }[form]
    return insert(classifier.requires_grad_(False), autoencoder, SHAPE).eval()


@pytest.mark.parametrize("form", ["conv", "topk"])
@pytest.mark.parametrize("name", BEHIND)
def test_an_autoencoder_inside_leaves_pixels_latents_and_channels_incremental(name, form):
    cells = Painted([[grid_cell(SHAPE, unit, 16, 16)] for unit in (0, 88, 255)])
    channels, latents = Activation(BEHIND[name][0], choose=[0, 3]), Activation(CODE, unit="latent", choose=[0, 3])
    classifier, batch = with_autoencoder(name, form), batch_of(1, *SHAPE)
    for intervention in (cells, channels, latents):
        assert isinstance(agreeing(classifier, intervention, batch).engine, Incremental)


@pytest.mark.parametrize("sets", [None, "pairs"])
@torch.no_grad()
def test_latents_of_the_last_layer_are_steered_by_rows_of_its_decoder(sets):
    torch.manual_seed(0)
    classifier = classifier_of(with_statistics(torchvision.models.resnet18(num_classes=5))).requires_grad_(False)
    inserted = insert(classifier, TopkSae("layer4.1", 512, expansion=4, k=8, dead_after=100), (3, 96, 96)).eval()
    value = Steering([float(number % 5 - 2) for number in range(2048)], strength=0.5)
    latents = Activation(CODE, unit="latent", value=value, choose=[0, 1, 3, 700], sets=sets)
    agreeing(inserted, latents, batch_of(2, 3, 96, 96))
