"""Networks whose code looks at the sizes of its values: traced for their images, and for any number of these."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dovision.functional.geometry import grid_cell
from dovision.propagation import engine_choice
from dovision.propagation.incremental import Incremental

from .conftest import Painted, agreeing, batch_of, classifier_of

SIZE, CHANNELS = 24, 8
GRID = [[grid_cell((1, SIZE, SIZE), unit, 4, 4)] for unit in range(16)]


class PaddedBySize(nn.Module):
    """TensorFlow's "same" padding."""

    def forward(self, x):
        height, width = x.size()[-2:]
        down, across = max(0, -(-height // 2) * 2 + 1 - height), max(0, -(-width // 2) * 2 + 1 - width)
        if down > 0 or across > 0:
            x = F.pad(x, [across // 2, across - across // 2, down // 2, down - down // 2])
        return x


class Widened(nn.Module):
    """A constant channel before the others, padded as in the shortcuts of CIFAR's ResNets, for the last one."""

    def forward(self, x):
        return F.pad(x, (0, 0, 0, 0, 1, 0), value=0.5)[:, :-1]


class Checked(nn.Module):
    """A check of the input's sizes, as of many embeddings."""

    def forward(self, x):
        if x.shape[1] != CHANNELS or x.ndim != 4 or x.dim() != 4:
            raise ValueError(f"the channels must be {CHANNELS}")
        for axis, size in enumerate(x.shape[2:]):
            assert size > 2, axis
        return x


class Shuffled(nn.Module):
    """Channels mixed by groups; the sizes as one tuple or one by one."""

    def __init__(self, joined):
        super().__init__()
        self.joined = joined

    def forward(self, x):
        images, channels, height, width = x.shape
        if self.joined:
            return x.reshape((images, 2, channels // 2, height, width)).transpose(1, 2).reshape(x.shape)
        x = torch.transpose(x.view(images, 2, channels // 2, height, width), 1, 2).contiguous()
        return x.view(-1, channels, height, width)


class Placed(nn.Module):
    """A constant that varies over places, made from another one."""

    def __init__(self, *shape):
        super().__init__()
        self.position = nn.Parameter(torch.randn(shape))

    def forward(self, x):
        return x + self.position.flatten().view(self.position.shape).to(x.dtype) * 2


class Standardised(nn.Conv2d):
    """A convolution that normalises its weights in each pass."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Blurred(nn.Module):
    """A blur behind a border that repeats the map."""

    def __init__(self, mode):
        super().__init__()
        self.mode = mode
        self.register_buffer("kernel", torch.tensor([1.0, 2.0, 1.0]).outer(torch.tensor([1.0, 2.0, 1.0])) / 16)

    def forward(self, x):
        channels = x.shape[1]
        return F.conv2d(F.pad(x, (2, 1, 1, 2), mode=self.mode), self.kernel.expand(channels, 1, 3, 3), groups=channels)


class Windowed(nn.Module):
    """Means of windows that lie on the axis of the images for a while."""

    def forward(self, x):
        images, channels, height, width = x.shape
        windows = x.view(images, channels, height // 4, 4, width // 4, 4).permute(0, 2, 4, 1, 3, 5)
        windows = windows.reshape(-1, channels, 4, 4)
        windows = windows - windows.mean((2, 3), keepdim=True)
        images = windows.shape[0] // ((height // 4) * (width // 4))
        windows = windows.view(images, height // 4, width // 4, channels, 4, 4).permute(0, 3, 1, 4, 2, 5)
        return windows.reshape(images, channels, height, width)


class Selected(nn.Module):
    """The largest of each position's channels, read by the fields of what torch returns, or unpacked; in place."""

    def forward(self, x):
        top = x.topk(3, dim=1)
        sparse = torch.zeros_like(x).scatter(1, top.indices, top.values).relu_()
        values, order = x.sort(1)
        return F.relu(sparse + values - x.max(1, keepdim=True).values + 0.1 * order, inplace=True)


LOCAL = {
    "padded by size": PaddedBySize(),
    "checked": Checked(),
    "shuffled": Shuffled(False),
    "shuffled, sizes joined": Shuffled(True),
    "placed": Placed(1, CHANNELS, SIZE, SIZE),
    "placed by row": Placed(SIZE, 1),
    "standardised": Standardised(CHANNELS, CHANNELS, 3, padding=1),
    "blurred, reflected": Blurred("reflect"),
    "blurred, edges repeated": Blurred("replicate"),
    "a channel of 0.5": Widened(),
}


def network_of(layer):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, CHANNELS, 3, padding=1),
        layer,
        nn.Conv2d(CHANNELS, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(256, 5),
    ).eval()


@pytest.mark.parametrize("name", LOCAL)
def test_what_is_local_stays_local(name, monkeypatch):
    monkeypatch.setattr(engine_choice, "WORTH_IT", 0.5)
    classifier = classifier_of(network_of(LOCAL[name]))
    for images in (1, 3):
        batch = batch_of(images, 1, SIZE, SIZE)
        assert isinstance(agreeing(classifier, Painted(GRID), batch).engine, Incremental)


@pytest.mark.parametrize("layer", [Windowed, Selected])
@pytest.mark.parametrize("images", [1, 2, 5])
def test_layers_are_traced_for_any_number_of_images(layer, images):
    classifier, batch = classifier_of(network_of(layer())), batch_of(images, 1, SIZE, SIZE)
    for site, regions in (("input", GRID), ("0", [[None]] * 3), ("1", [[None]] * 3)):
        assert isinstance(agreeing(classifier, Painted(regions, site), batch).engine, Incremental)


def test_an_identity_with_a_hook_is_kept():
    hooked = nn.Sequential(nn.Identity(), nn.Dropout(), nn.Identity())
    hooked[2].register_forward_hook(lambda module, args, output: 2 * output)
    classifier, batch = classifier_of(network_of(hooked)), batch_of(2, 1, SIZE, SIZE)
    propagation = agreeing(classifier, Painted(GRID), batch)
    assert isinstance(propagation.engine, Incremental)
    functions = [type(step.function) for step in propagation.engine.graph.steps]
    assert nn.Dropout not in functions
    assert functions.count(nn.Identity) == 1
