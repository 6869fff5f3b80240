"""Any small network, any regions, any chunk: the same logits as one whole forward pass for each edit."""

from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dovision.propagation import Propagation
from dovision.propagation.incremental import Incremental
from dovision.types import Box

from .conftest import Painted, assert_equal, batch_of, classifier_of, expected_outcome, with_statistics

sizes = st.integers(1, 3)


class Branches(nn.Module):
    """Two paths over one map, added or concatenated."""

    def __init__(self, left: nn.Module, right: nn.Module, how: str) -> None:
        super().__init__()
        self.left, self.right, self.how = left, right, how

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.left(x), self.right(x)
        if self.how == "cat":
            return torch.cat([left, x, right], 1)
        if self.how == "iadd":
            left += right
            return left
        return left + right if self.how == "add" else left * torch.sigmoid(right)


class Sliced(nn.Module):
    """Half of the channels rectified, by slices or by a split, and put behind the others."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "slice":
            return torch.cat([x[:, 1:], torch.relu(x[:, :1])], 1)
        first, rest = x.chunk(2, 1) if self.how == "chunk" else torch.split(x, [1, x.shape[1] - 1], dim=1)
        return torch.cat([rest, torch.relu(first)], 1)


@st.composite
def convolutions(draw: Any, channels: int, out: int | None = None) -> nn.Module:
    kernel = (draw(sizes), draw(sizes))
    groups = draw(st.sampled_from([1, 2])) if channels % 2 == 0 else 1
    return nn.Conv2d(
        channels,
        out or draw(st.sampled_from([2, 4, 6])),
        kernel,
        stride=(draw(st.integers(1, 2)), draw(st.integers(1, 3))),
        padding=(draw(st.integers(0, 3)), draw(st.integers(0, 2))),
        dilation=(draw(st.integers(1, 2)), draw(st.integers(1, 2))),
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(["zeros", "zeros", "zeros", "replicate", "circular"])),
    )


@st.composite
def pools(draw: Any) -> nn.Module:
    kernel, stride, ceil = draw(st.integers(2, 3)), draw(st.integers(1, 3)), draw(st.booleans())
    padding = draw(st.integers(0, kernel // 2))
    if draw(st.booleans()):
        return nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil, dilation=draw(st.integers(1, 2)))
    return nn.AvgPool2d(kernel, stride, padding, ceil_mode=ceil, count_include_pad=draw(st.booleans()))


@st.composite
def branches(draw: Any, channels: int) -> nn.Module:
    def path() -> nn.Module:
        size = 2 * draw(st.integers(0, 2)) + 1
        steps = [nn.Conv2d(channels, channels, size, padding=size // 2), nn.BatchNorm2d(channels)]
        return nn.Sequential(*steps, nn.ReLU(inplace=True)) if draw(st.booleans()) else nn.Sequential(*steps)

    other = path() if draw(st.booleans()) else nn.Identity()
    return Branches(path(), other, draw(st.sampled_from(["add", "iadd", "mul", "cat"])))


@st.composite
def reshapings(draw: Any, channels: int) -> nn.Module:
    """What moves or repeats values and mixes none of them."""
    border = tuple(draw(st.integers(0, 2)) for _ in range(4))
    larger = nn.Upsample(scale_factor=(draw(sizes), draw(sizes)), mode=draw(st.sampled_from(["nearest", "bilinear"])))
    return draw(
        st.sampled_from(
            [nn.ZeroPad2d(border), nn.ConstantPad2d(border, 0.5), larger]
            + [Sliced(how) for how in ("slice", "chunk", "split") if channels > 1]
        )
    )


@st.composite
def networks(draw: Any) -> nn.Module:
    torch.manual_seed(draw(st.integers(0, 99)))
    channels = draw(st.integers(1, 3))
    body: list[nn.Module] = []
    first = channels
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "conv", "pool", "branches", "reshaping"]))
        if kind == "conv":
            body.append(draw(convolutions(channels)))
            channels = body[-1].out_channels
            body += [nn.BatchNorm2d(channels)] * draw(st.integers(0, 1))
            body += [nn.ReLU(inplace=draw(st.booleans()))] * draw(st.integers(0, 1))
        elif kind == "pool":
            body.append(draw(pools()))
        elif kind == "reshaping":
            body.append(draw(reshapings(channels)))
        else:
            body.append(draw(branches(channels)))
            channels *= 3 if body[-1].how == "cat" else 1
    network = nn.Sequential(*body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 5))
    network.in_channels = first
    return network


@st.composite
def boxes(draw: Any, height: int, width: int) -> Box | None:
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    box = Box(top, left, draw(st.integers(top, height)), draw(st.integers(left, width)))
    return draw(st.sampled_from([box, box, box, box, None]))


def works(network: nn.Module, image: Tensor) -> bool:
    try:
        return bool(network(image).isfinite().all())  # a dilated pooling may read nothing but padding
    except RuntimeError:  # the map has become smaller than a kernel
        return False


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_outcome_equals_the_plain_forward_pass(data):
    network = with_statistics(data.draw(networks())).eval()
    height, width = data.draw(st.integers(7, 19)), data.draw(st.integers(7, 19))
    batch = batch_of(data.draw(st.integers(1, 3)), network.in_channels, height, width)
    if not works(network, batch.image):
        return
    classifier = classifier_of(network)
    site, shape = "input", (height, width)
    if data.draw(st.booleans()):
        site = data.draw(st.sampled_from([name for name, _ in network[:-3].named_children()]))
        shape = tuple(network[: int(site) + 1](batch.image).shape[2:])
    units = st.lists(boxes(*shape), min_size=len(batch.image), max_size=len(batch.image))
    regions = data.draw(st.lists(units, min_size=1, max_size=4))
    intervention = Painted(regions, site)
    chunk = data.draw(st.sampled_from(["auto", 1, 2, 5]))
    propagation = Propagation(classifier, intervention, chunk)
    outcome = propagation(batch)
    assert_equal(outcome, expected_outcome(classifier, intervention, batch))
    if any(region is None or region.area for unit in regions for region in unit[:1]):
        assert isinstance(propagation.engine, Incremental)
