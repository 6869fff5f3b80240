import re

import pytest
import torch
import torchvision
from torch import nn

from dovision.models.chexnet import CHECKPOINT_LABELS, MEAN, STD, chexnet

SHAPE = (3, 64, 64)


@pytest.fixture(scope="module")
def public():
    """torchvision's network with 14 outputs, and its tensors under the names of the public checkpoint."""
    torch.manual_seed(0)
    network = torchvision.models.densenet121(num_classes=14)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    tensors = {old_name(n): tensor for n, tensor in network.state_dict().items() if "num_batches" not in n}
    return network.eval(), tensors


def old_name(name):
    name = re.sub(r"(denselayer\d+\.)(norm|conv)(\d)", r"\1\2.\3", name)
    return f"module.densenet121.{name}".replace("classifier.", "classifier.0.")


@pytest.fixture
def file(tmp_path):
    def write(tensors, **others):
        torch.save({"epoch": 7, "state_dict": tensors, "best_loss": 0.15, **others}, tmp_path / "public.pth.tar")
        return str(tmp_path / "public.pth.tar")

    return write


def test_the_names_are_those_of_the_public_checkpoint(public):
    assert {
        "module.densenet121.features.conv0.weight",
        "module.densenet121.features.denseblock1.denselayer1.norm.1.weight",
        "module.densenet121.features.denseblock4.denselayer16.conv.2.weight",
        "module.densenet121.features.transition1.norm.weight",
        "module.densenet121.classifier.0.bias",
    } <= public[1].keys()


@pytest.mark.parametrize("channels", [1, 3])  # a grey film is seen as three equal channels
@pytest.mark.parametrize(
    ("classes", "outputs"), [(CHECKPOINT_LABELS, range(14)), (["Hernia", "Effusion", "Atelectasis"], [13, 2, 0])]
)
def test_the_public_checkpoint_gives_what_torchvisions_network_gives(public, file, channels, classes, outputs):
    network, tensors = public
    optimizer = torch.optim.Adam(network.parameters()).state_dict()
    classifier = chexnet(file(tensors, optimizer=optimizer), (channels, 64, 64), "multilabel", classes).eval()
    image = torch.rand(2, channels, 64, 64)
    normalised = (image - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        expected = network(normalised)[:, list(outputs)]
        torch.testing.assert_close(classifier(image), expected, atol=1e-5, rtol=0)


def test_a_class_that_the_public_checkpoint_does_not_know_is_named(public, file):
    with pytest.raises(ValueError, match=r"must be one of Atelectasis, .* got 'Effusions'. Did you mean Effusion"):
        chexnet(file(public[1]), SHAPE, "multilabel", ["Mass", "Effusions"])
