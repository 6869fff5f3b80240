"""A network whose answer is known by hand."""

import torch
from torch import nn


class Brightness(nn.Module):
    """Logits (0, 20 * (mean - 0.5))."""

    def forward(self, image):
        value = 20 * (image.mean((1, 2, 3)) - 0.5)
        return torch.stack([torch.zeros_like(value), value], 1)
