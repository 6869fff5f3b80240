from __future__ import annotations

import pytest
import torch

from dovision.training.autoencoder_loss import AutoencoderLoss, AutoencoderLossAsCoded, variation_mismatch


def test_the_mismatch_is_zero_for_maps_that_differ_by_a_constant_and_known_by_hand_otherwise():
    ramp = torch.arange(4.0).reshape(1, 1, 2, 2)  # 1 to the right, 2 downwards
    assert variation_mismatch(ramp, ramp + 7) == 0
    assert variation_mismatch(ramp, torch.zeros_like(ramp)) == 3


def test_as_coded_the_weight_of_the_deep_term_is_added_to_that_of_interpretability():
    weights = {"shallow": 2.0, "deep": 3.0, "interpretability": 5.0}
    meant, coded = AutoencoderLoss(**weights), AutoencoderLossAsCoded(**weights)
    assert meant.weights == weights
    assert coded.weights == {"shallow": 2.0, "deep": 0.0, "interpretability": 8.0}


def test_as_coded_the_reconstruction_has_the_same_value_and_gives_the_autoencoder_no_gradient():
    activation, output = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4, requires_grad=True)
    meant = AutoencoderLoss(1.0, 1.0, 1.0).reconstruction(output, activation)
    coded = AutoencoderLossAsCoded(1.0, 1.0, 1.0).reconstruction(output, activation)
    assert torch.equal(meant, coded)
    assert meant.requires_grad
    assert not coded.requires_grad


def test_as_coded_the_variation_is_that_of_vertical_neighbours_without_sign_summed_and_divided_by_the_height():
    ramp = torch.arange(4.0).reshape(1, 1, 2, 2)  # 2 downwards, in two columns
    coded = AutoencoderLossAsCoded(1.0, 1.0, 1.0)
    assert coded.variation(ramp, torch.zeros_like(ramp)) == 2 * 2 / 2
    assert coded.variation(ramp, -ramp) == 0
    assert coded.variation(ramp.expand(3, 1, 2, 2), torch.zeros(3, 1, 2, 2)) == 3 * 2 * 2 / 2


@pytest.mark.parametrize(
    ("kind", "weights", "message"),
    [
        (AutoencoderLoss, (0.0, 0.0, 0.0), "must not all be 0"),
        (AutoencoderLoss, (0.0, -1.0, 0.0), "deep must be at least 0, got -1"),
        (AutoencoderLossAsCoded, (1.0, 0.0, 0.0), "interpretability or deep must be above 0"),
    ],
)
def test_weights_that_fit_nothing_are_refused(kind, weights, message):
    with pytest.raises(ValueError, match=message):
        kind(*weights)
