"""Activation patching on tokens that never mix, worked by hand, and on a vision transformer against a loop."""

from __future__ import annotations

import functools

import pytest
import torch
import torchvision
from torch import nn

import dovision as dv
from dovision.module_state import evaluating


class Separate(nn.Module):
    """Tokens of 2 x 2 patches of a pixel, doubled by each of four blocks; the logit of yes is their weighted sum."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(1, 1, bias=False) for _ in range(4))
        for block in self.blocks:
            nn.init.constant_(block.weight, 2.0)
        self.register_buffer("weight", torch.tensor([1.0, -1.0, 2.0, 0.0]))

    def forward(self, image):
        tokens = image[:, :1].flatten(2).mT
        for block in self.blocks:
            tokens = block(tokens)
        yes = (tokens[..., 0] * self.weight).sum(1, keepdim=True)
        return torch.cat([torch.zeros_like(yes), yes], 1)


def batch_of(images):
    number = torch.arange(len(images))
    return dv.Batch(images, torch.ones_like(number), number, number)


def test_a_patch_that_mixes_with_none_brings_its_part_of_the_logit():
    image = torch.tensor([[[[0.5, 0.25], [1.0, 0.75]]]])
    batch = batch_of(image)
    found = dv.ActivationPatching(fill=0.0)(batch, batch.label, dv.wrap(Separate(), ["no", "yes"]))
    torch.testing.assert_close(found, 16 * torch.tensor([[[0.5, -0.25], [2.0, 0.0]]]))  # log-odds of two logits
    mean = dv.ActivationPatching()(batch, batch.label, dv.wrap(Separate(), ["no", "yes"]))
    torch.testing.assert_close(mean, 16 * torch.tensor([[[-0.125, 0.375], [0.75, 0.0]]]))  # the mean pixel is .625


@torch.no_grad()
def test_the_map_of_a_transformer_is_that_of_a_loop_of_hooks():
    torch.manual_seed(0)
    sizes = {"image_size": 12, "patch_size": 4, "hidden_dim": 8, "mlp_dim": 8, "num_classes": 3}
    network = torchvision.models.VisionTransformer(num_layers=4, num_heads=2, **sizes)
    nn.init.normal_(network.heads.head.weight)
    classifier = dv.wrap(network, 3)
    batch = batch_of(torch.rand(2, 3, 12, 12))
    found = dv.ActivationPatching(0.25, 0.75, batch_size=4).run(batch, batch.label, classifier.eval())
    blocks = [network.encoder.layers[number] for number in (1, 2)]
    with evaluating(classifier):
        for row, image in enumerate(batch.image):
            values = {}
            keep = functools.partial(lambda values, module, args, output: values.update({module: output}), values)
            hooks = [block.register_forward_hook(keep) for block in blocks]
            classifier(image.unsqueeze(0))
            [hook.remove() for hook in hooks]
            blank = image.mean((1, 2), keepdim=True).expand_as(image).unsqueeze(0)
            before = classifier(blank).log_softmax(1).exp()[0, 1].logit()
            for patch in range(9):

                def set_token(module, args, output, patch=patch, values=values):
                    output = output.clone()
                    output[0, 1 + patch] = values[module][0, 1 + patch]
                    return output

                hooks = [block.register_forward_hook(set_token) for block in blocks]
                after = classifier(blank).softmax(1)[0, 1].logit()
                [hook.remove() for hook in hooks]
                assert found[row].flatten()[patch] == pytest.approx(float(after - before), abs=1e-4)
    assert found.std() > 1e-3


def test_a_network_without_blocks_of_tokens_is_refused():
    classifier, digits = dv.example()
    with pytest.raises(ValueError, match="needs a transformer of blocks that all put out the same tokens, got a"):
        dv.ActivationPatching()(digits, digits.label, classifier)
