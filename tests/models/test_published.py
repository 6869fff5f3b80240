from __future__ import annotations

import pytest
import torch
from torch import nn

from dovision.models._published import check_colours, choose_outputs, output_numbers


def test_outputs_are_found_by_name_and_zero_where_there_is_none():
    network = nn.Sequential(nn.Linear(2, 3))
    old = network[0]
    choose_outputs(network, "0", output_numbers(["a", "b", "c"], ["c", "unheard of", "a"]))
    value = torch.rand(5, 2)
    expected = torch.stack([old(value)[:, 2], torch.zeros(5), old(value)[:, 0]], 1)
    torch.testing.assert_close(network(value), expected)


def test_images_of_other_colours_are_refused():
    with pytest.raises(ValueError, match=r"chexnet takes images of 1 or 3 channels, got shape \[4, 64, 64\]"):
        check_colours("chexnet", (4, 64, 64))
