"""Outputs that a change reaches, against a count of what torch's own operators change, and decoders."""

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from dovision.propagation.spans import Span, Window


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
