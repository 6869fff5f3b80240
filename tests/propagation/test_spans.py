"""Outputs that a change reaches, against a count of what torch's own operators change, and decoders."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import dovision as dv
from dovision.propagation import Propagation
from dovision.propagation.incremental import Incremental
from dovision.propagation.operations import Operations
from dovision.propagation.spans import Span, Window
from dovision.types import Batch


@given(
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    dilation=st.integers(1, 3),
    length=st.integers(8, 20),
    data=st.data(),
)
def test_the_reached_outputs_are_those_that_change(kernel, stride, padding, dilation, length, data):
    window = Window(kernel, stride, padding, dilation)
    if length + 2 * padding < window.extent:
        return
    start = data.draw(st.integers(0, length - 1))
    size = data.draw(st.integers(1, length - start))
    change = torch.zeros(1, 1, length)
    change[..., start : start + size] = 1
    weight = torch.ones(1, 1, kernel)
    changed = F.conv1d(change, weight, stride=stride, padding=padding, dilation=dilation)[0, 0].nonzero()[:, 0]
    outputs = (length + 2 * padding - window.extent) // stride + 1
    reached = window.outputs(Span(np.array([start]), size), outputs)
    assert reached.start[0] >= 0
    assert reached.stop[0] <= outputs
    if len(changed):
        assert reached.start[0] <= changed[0]
        assert reached.stop[0] > changed[-1]
        if stride * 2 > dilation * (kernel - 1) and dilation == 1:  # no gaps between the inputs that are read
            assert reached.size == changed[-1] - changed[0] + 1


def test_spans_of_unequal_length_get_one_size_and_stay_inside():
    span = Span.covering(np.array([0, 3, 7]), np.array([2, 7, 9]), 9)
    assert span.size == 4
    assert span.start.tolist() == [0, 3, 5]


def test_the_inputs_of_an_output_start_in_the_padding():
    assert Window(kernel=3, stride=2, padding=1, dilation=2).inputs(Span(np.array([0]), 2)) == (np.array([-1]), 7)


def test_the_margin_completes_the_last_window_of_a_rounded_up_pooling():
    assert Window(kernel=3, stride=2, padding=1, dilation=1).margin(inputs=6, outputs=4) == (1, 2)


SIDE, CLASSES = 24, 3

LAYERS = {
    "doubled": nn.ConvTranspose2d(4, 4, 2, 2),
    "overlapping": nn.ConvTranspose2d(4, 4, 4, 2, padding=1),
    "with gaps": nn.ConvTranspose2d(4, 4, 2, 3, output_padding=1),
    "dilated, grouped, oblong": nn.ConvTranspose2d(4, 4, (3, 2), (2, 1), (1, 0), (1, 0), groups=2, dilation=(2, 1)),
    "same size": nn.ConvTranspose2d(4, 4, 3, padding=1, bias=False),
}


@pytest.mark.parametrize("name", LAYERS)
def test_effects_behind_a_layer_are_those_of_the_plain_pass(name):
    torch.manual_seed(0)
    first, last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3)
    network = nn.Sequential(first, LAYERS[name], nn.ReLU(), last, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = dv.wrap(nn.Sequential(network, nn.Linear(4, CLASSES)), CLASSES).eval()
    image, number = torch.rand(2, 3, SIDE, SIDE), torch.arange(2)
    propagation, batch = Propagation(classifier, dv.PixelGrid(6, 8)), Batch(image, number, number, number)
    with Operations() as whole, torch.no_grad():
        classifier(image.repeat(48, 1, 1, 1))
    propagation(batch)
    with Operations() as counted:
        treated = propagation(batch).treated
    assert isinstance(propagation.engine, Incremental)
    assert counted.number < 0.6 * whole.number
    for unit in range(48):
        painted = image.clone()
        top, left = divmod(unit, 8)
        painted[:, :, 4 * top : 4 * top + 4, 3 * left : 3 * left + 3] = 0
        with torch.no_grad():
            torch.testing.assert_close(treated[:, unit], classifier(painted), rtol=0, atol=1e-5)
