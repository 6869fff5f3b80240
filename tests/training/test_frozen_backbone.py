"""A backbone that is frozen for some epochs, and the last layer that is fitted meanwhile."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from dovision.interfaces import Classifier
from dovision.training.image_classifier import FrozenBackbone
from dovision.types import Task

THREE = Task("multiclass", ("a", "b", "c"))


def classifier_of(*last: nn.Module) -> Classifier:
    """A network with batch-norm and dropout, of which one layer is fixed and one is in eval mode from the start."""
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 4, 1), nn.Flatten()
    classifier = Classifier(nn.Sequential(*layers, *last), THREE, [0.5], [0.5])
    classifier.network[3].requires_grad_(False)
    classifier.network[2].eval()
    return classifier


def state(classifier):
    modes = [module.training for module in classifier.modules()]
    return modes, [parameter.requires_grad for parameter in classifier.parameters()]


def test_only_the_last_layer_is_fitted_and_all_is_put_back():
    classifier = classifier_of(nn.Linear(4 * 6 * 6, 3))
    before, backbone = state(classifier), FrozenBackbone(classifier)
    backbone.freeze()
    backbone.freeze()  # in the second epoch
    assert [name for name, parameter in classifier.named_parameters() if parameter.requires_grad] == [
        "network.5.weight",
        "network.5.bias",
    ]
    assert classifier.network[5].training
    assert not classifier.network[1].training
    backbone.release()
    backbone.release()
    assert state(classifier) == before


def test_neither_weights_nor_running_statistics_move_while_it_is_frozen():
    classifier = classifier_of(nn.Linear(4 * 6 * 6, 3))
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=0.1, weight_decay=0.1)
    image, label = torch.rand(8, 1, 8, 8), torch.arange(8) % 3

    def moved() -> set[str]:
        before = {name: value.clone() for name, value in classifier.state_dict().items()}
        optimizer.zero_grad()
        THREE.loss(classifier(image), label).mean().backward()
        optimizer.step()
        return {name for name, value in classifier.state_dict().items() if not torch.equal(value, before[name])}

    moved()  # leaves gradients
    backbone = FrozenBackbone(classifier)
    backbone.freeze()
    assert moved() == {"network.5.weight", "network.5.bias"}
    backbone.release()
    assert moved() > {"network.0.weight", "network.1.running_mean", "network.5.weight"}


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "densenet121", "vit_b_16", "convnext_tiny", "squeezenet1_0"])
def test_the_last_layer_of_torchvisions_networks_gives_their_logits(name):
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None, num_classes=3)
        FrozenBackbone(Classifier(network, THREE, [0.5], [0.5])).freeze()
    fitted = {name.rpartition(".")[0] for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert len(fitted) == 1


@pytest.mark.parametrize(("last", "got"), [([nn.Linear(144, 3), nn.BatchNorm1d(7)], "BatchNorm1d"), ([], "Conv2d")])
def test_a_network_that_does_not_end_in_its_logits_is_refused(last, got):
    with pytest.raises(
        ValueError, match=f"frozen_epochs needs a network whose .* gives the 3 logits, got {got}. Set it"
    ):
        FrozenBackbone(classifier_of(*last))
