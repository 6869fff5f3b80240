from __future__ import annotations

import torch
from torch import nn

from dovision.models._published import choose_outputs, output_numbers


def test_outputs_are_found_by_name_and_zero_where_there_is_none():
    network = nn.Sequential(nn.Linear(2, 3))
    old = network[0]
    choose_outputs(network, "0", output_numbers(["a", "b", "c"], ["c", "unheard of", "a"]))
    value = torch.rand(5, 2)
    expected = torch.stack([old(value)[:, 2], torch.zeros(5), old(value)[:, 0]], 1)
    torch.testing.assert_close(network(value), expected)
