from __future__ import annotations

import pytest
import torch

from dovision.interventions.latent_channel import ChannelMean, LatentChannel, Resample, Zero
from dovision.types import CODE

CODES = torch.randn(4, 5, 6, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("value", [Zero(), ChannelMean(), Resample(seed=0)], ids=lambda value: type(value).__name__)
def test_one_channel_is_set_and_the_others_are_kept(value, context):
    treated = LatentChannel(value=value).do(CODES, 2, context)
    assert not torch.equal(treated[:, 2], CODES[:, 2])
    assert torch.equal(treated[:, [0, 1, 3, 4]], CODES[:, [0, 1, 3, 4]])


@pytest.mark.parametrize("shape", [(5, 6, 7), (5,)])
def test_there_is_a_unit_for_each_channel(shape):
    assert LatentChannel().units(shape) == ("c0", "c1", "c2", "c3", "c4")


def test_chosen_channels_are_units_under_their_own_names_and_the_only_ones(context):
    chosen = LatentChannel(channels=[3, 0])
    assert chosen.units((5, 6, 7)) == ("c3", "c0")
    whole = LatentChannel(value=Resample(seed=0))
    some = LatentChannel(value=Resample(seed=0), channels=[3, 0])
    for unit, channel in enumerate([3, 0]):
        assert torch.equal(some.do(CODES, unit, context), whole.do(CODES, channel, context))


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ([5], r"channels must lie in \[0, 4\], the channels there are, got 5"),
        ([-1], "channels must be a whole number of at least 0, got -1"),
        ([1, 1], r"channels must name different channels, at least one, got \[1, 1\]"),
        ([], "channels must name different channels, at least one"),
    ],
)
def test_channels_that_are_not_there_are_refused(channels, message):
    with pytest.raises(ValueError, match=message):
        LatentChannel(channels=channels).units((5, 6, 7))


def test_zero_silences_a_channel_of_a_code_without_positions(context):
    code = torch.ones(4, 3)
    assert torch.equal(LatentChannel().apply(code, 1, context), torch.tensor([1.0, 0, 1]).expand(4, 3))


def test_the_mean_is_the_samples_own(context):
    code = torch.tensor([[1.0, 2, 6], [0, 0, 3]]).view(2, 1, 1, 3)
    treated = LatentChannel(value=ChannelMean()).do(code, 0, context)
    torch.testing.assert_close(treated, torch.tensor([3.0, 1]).view(2, 1, 1, 1).expand_as(code))


def test_resampling_moves_a_samples_values_and_invents_none(context):
    treated = LatentChannel(value=Resample(seed=0)).do(CODES, 2, context)
    before, after = CODES[:, 2].flatten(1), treated[:, 2].flatten(1)
    assert torch.equal(before.sort().values, after.sort().values)


def test_resampling_depends_on_seed_sample_and_unit_alone(context):
    positions = torch.arange(42.0).view(1, 1, 6, 7).expand_as(CODES)
    first = Resample(seed=0)(positions[:, 2], 2, context)
    backwards = Resample(seed=0)(positions[:, 2], 2, context.rows([3, 2, 1, 0]))
    assert torch.equal(backwards.flip(0), first)
    assert not torch.equal(Resample(seed=1)(positions[:, 2], 2, context), first)
    assert not torch.equal(Resample(seed=0)(positions[:, 2], 3, context), first)
    assert not torch.equal(first[0], first[1])


def test_the_code_is_the_site_unless_a_layer_is_named():
    assert LatentChannel().site == CODE
    assert LatentChannel(site="features.3").site == "features.3"


@pytest.mark.parametrize("value", [ChannelMean(), Resample(seed=0)], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1, 1)])
def test_a_code_without_positions_has_no_mean_and_no_order(value, shape, context):
    with pytest.raises(ValueError, match=r"code with several positions, .* got one value per channel. Set .* to zero"):
        LatentChannel(value=value).do(torch.ones(shape), 0, context)


def test_a_number_is_not_a_channel_value():
    with pytest.raises(ValueError, match=r"value must be a channel value such as Zero\(\) or Mean\(\), got 0"):
        LatentChannel(value=0)
