import subprocess
import sys

import captum.attr
import torch
from torch import nn

import dovision as dv


class Sum(nn.Module):
    """Two classes; the log-odds of the second are the sum of the pixels."""

    def forward(self, image):
        total = image.sum((1, 2, 3))
        return torch.stack([torch.zeros_like(total), total], 1)


IMAGE = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).reshape(1, 1, 2, 2)


def test_maps_of_effects_have_the_sign_of_explainers_and_of_captum():
    classifier, batch = dv.wrap(Sum(), classes=2), dv.Batch(IMAGE, torch.ones(1).long(), *torch.zeros(2, 1).long())
    ablation = captum.attr.FeatureAblation(lambda image: classifier(image).softmax(-1)).attribute(IMAGE, target=1)[0]
    explained = dv.explain(classifier, batch, dv.EffectMap(dv.PixelGrid(2, 2)), target=1)
    assert ablation.min() > 0  # each bright pixel speaks for bright
    for maps in (dv.effect_map(classifier, IMAGE, dv.PixelGrid(2, 2), target=1).map, *explained.maps.values()):
        torch.testing.assert_close(maps, ablation, atol=1e-6, rtol=0)


def test_the_normalisation_of_the_network_is_inside():
    plain = dv.effect_map(dv.wrap(Sum(), 2), IMAGE, dv.PixelGrid(2, 2)).control
    shifted = dv.effect_map(dv.wrap(Sum(), 2, mean=[0.5], std=[0.5]), IMAGE, dv.PixelGrid(2, 2)).control
    torch.testing.assert_close(plain[0, 1], torch.sigmoid(torch.tensor(1.0)))
    torch.testing.assert_close(shifted[0, 1], torch.sigmoid(torch.tensor((1.0 - 4 * 0.5) / 0.5)))


def test_a_layer_can_be_the_site_and_has_no_place_in_the_image():
    network = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Flatten(), nn.Linear(12, 2))
    found = dv.effect_map(dv.wrap(network, 2), IMAGE, dv.Activation(site="0"))
    assert found.effect.shape == (1, 3, 2)
    assert not found.map.any()


def test_an_attack_can_be_the_intervention():
    found = dv.effect_map(dv.wrap(Sum(), 2), IMAGE, dv.Perturbation(dv.FGSM(eps=[0.0, "8/255"])), target=1)
    expected = torch.sigmoid(torch.tensor(1 - 4 * 8 / 255)) - torch.sigmoid(torch.tensor(1.0))
    torch.testing.assert_close(found.effect[0, :, 1], torch.tensor([0.0, expected.item()]), atol=1e-6, rtol=0)


def test_a_network_in_train_mode_is_measured_in_eval_mode_and_left_as_it_was():
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4, 2))
    network[1].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first, second = (dv.effect_map(dv.wrap(network, 2), IMAGE, dv.PixelGrid(2, 2)).effect for _ in range(2))
    assert torch.equal(first, second)
    assert [module.training for module in network] == [True, False, True, True]
    assert [dv.wrap(part, 2).training for part in (network, network[1])] == [True, False]  # which Quantus asks for
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_import_brings_neither_hydra_nor_wandb_nor_lightning():
    script = (
        "import sys; from dovision import *;"
        "print([name for name in ('hydra', 'omegaconf', 'wandb', 'pytorch_lightning', 'lightning', 'torchmetrics') "
        "if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
