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
