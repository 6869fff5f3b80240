import pytest
import torch

import dovision as dv
from dovision.interventions.activation import Activation
from dovision.interventions.values import GaussianNoise, ReferenceMean, SampleMean, Steering, Zero
from dovision.types import CODE, Box, Layout

CODES = torch.randn(4, 5, 6, 7, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randn(4, 5, 9, generator=torch.Generator().manual_seed(1))  # NTC
HEADS = torch.randn(4, 3, 5, 2, generator=torch.Generator().manual_seed(2))  # NHTC
SHAPE = (5, 6, 7)


@pytest.mark.parametrize(
    ("unit", "value", "names"),
    [
        ("channel", CODES, ("c0", "c1", "c2", "c3", "c4")),
        ("channel", CODES[:, :, 0, 0], ("c0", "c1", "c2", "c3", "c4")),
        ("latent", CODES, ("z0", "z1", "z2", "z3", "z4")),
        ("position", CODES[:, :, :2, :3], ("r0c0", "r0c1", "r0c2", "r1c0", "r1c1", "r1c2")),
        ("channel", Layout.NTC.present(TOKENS), tuple(f"c{number}" for number in range(9))),
        ("token", Layout.NTC.present(TOKENS), ("t0", "t1", "t2", "t3", "t4")),
        ("token", HEADS, ("t0", "t1", "t2", "t3", "t4")),
        ("head", HEADS, ("h0", "h1", "h2")),
        (None, CODES, ("all",)),
    ],
)
def test_there_is_a_unit_for_each_number_of_its_axis(unit, value, names):
    assert Activation("layer", unit).units(tuple(value.shape[1:])) == names


@pytest.mark.parametrize(
    ("unit", "value", "mean"),
    [
        ("channel", CODES, CODES.mean((2, 3), keepdim=True)[:, 2:3].expand(4, 1, 6, 7)),
        ("position", CODES, CODES.mean((2, 3), keepdim=True)),
        ("token", Layout.NTC.present(TOKENS), TOKENS.mean(1)[..., None, None]),
        ("head", HEADS, HEADS[:, 2:3].mean(2, keepdim=True).expand(4, 1, 5, 2)),
        ("token", HEADS, HEADS.mean(2, keepdim=True)),
    ],
)
def test_the_mean_is_the_samples_own_over_positions_channel_by_channel(unit, value, mean, context):
    done = Activation("layer", unit, SampleMean())
    region = done.region(tuple(value.shape[1:]), 2, 0)
    got = done.do(value, 2, context)
    torch.testing.assert_close(got[:, 2:3] if region is None else got, mean)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_a_channels_mean_is_that_of_the_channel_by_itself_to_the_bit(memory, context):
    value = CODES.contiguous(memory_format=memory)
    treated = Activation("layer", value=SampleMean()).do(value, 2, context)
    assert torch.equal(treated[:, 2, 0, 0], value[:, 2].flatten(1).mean(1))
    assert treated.stride() == value.stride()


def test_the_region_of_a_position_is_itself_and_that_of_a_set_the_box_around():
    positions = Activation("layer", "position", choose=["r1c2"], sets=[["r0c5", "r4c3"]])
    assert positions.region(SHAPE, 0, 0) == Box(1, 2, 2, 3)
    assert positions.region(SHAPE, 1, 0) == Box(0, 3, 5, 6)
    tokens = Activation("layer", "token", choose=[4], sets=[[1, 3]])
    assert tokens.region((9, 5, 1), 0, 0) == Box(4, 0, 5, 1)
    assert tokens.region((3, 5, 2), 1, 0) == Box(1, 0, 4, 2)
    assert Activation("layer").region(SHAPE, 0, 0) is None


def test_noise_has_the_standard_deviation_of_its_unit(context):
    value = torch.randn(4, 2, 100, 100, generator=torch.Generator().manual_seed(0)) * 3
    noise = Activation(CODE, value=GaussianNoise(0.5, seed=0)).do(value, 1, context)[:, 1] - value[:, 1]
    torch.testing.assert_close(noise.std((1, 2)), torch.full((4,), 1.5), rtol=0.03, atol=0)


def test_a_direction_is_added_channel_by_channel(context):
    direction = torch.arange(9.0)
    tokens = Layout.NTC.present(TOKENS)
    steered = Activation(CODE, "token", Steering(direction, -2.0)).do(tokens, 1, context)
    torch.testing.assert_close(steered[..., 0, 0], TOKENS[:, 1] - 2 * direction)
    heads = Activation(CODE, "head", Steering(list(range(6)), 1.0)).do(HEADS, 1, context)
    torch.testing.assert_close(heads[:, 1], HEADS[:, 1] + torch.tensor([2.0, 3.0]))
    with pytest.raises(ValueError, match="direction must have one number for each of the site's 5 channels, got 9"):
        Activation(CODE, "channel", Steering(direction, 1.0)).do(CODES, 0, context)


def test_a_direction_is_read_from_a_file(tmp_path):
    import numpy as np

    np.save(tmp_path / "concept.npy", np.arange(4, dtype=np.float32))
    assert Steering(str(tmp_path / "concept.npy"), 1.0).direction.tolist() == [0, 1, 2, 3]


def test_a_set_is_all_of_its_units_at_once_beside_the_single_ones(context):
    pairs = Activation(CODE, value=SampleMean(), choose=[0, 2, 3], sets="pairs")
    assert pairs.units(SHAPE) == ("c0", "c2", "c3", "c0+c2", "c0+c3", "c2+c3")
    both = pairs.do(CODES, 4, context)
    assert torch.equal(both, pairs.do(pairs.do(CODES, 0, context), 2, context))
    listed = Activation(CODE, sets=[["c4", 1], [0, 1, 2]])
    assert listed.units(SHAPE)[5:] == ("c4+c1", "c0+c1+c2")


@pytest.mark.parametrize(
    ("unit", "value"), [("channel", CODES), ("position", CODES), ("head", HEADS), ("token", HEADS)]
)
def test_a_control_changes_as_many_other_units_by_the_same_norm(unit, value, context):
    done = Activation("layer", unit, SampleMean(), choose=[1], sets=[[0, 2]] if unit != "head" else None, controls=2)
    own = Activation("layer", unit, SampleMean(), choose=[1], sets=[[0, 2]] if unit != "head" else None)
    names = done.units(tuple(value.shape[1:]))
    assert names[:3] == (own.units(tuple(value.shape[1:]))[0], f"{names[0]} control 0", f"{names[0]} control 1")
    axis = {"channel": 1, "head": 1, "token": 2, "position": None}[unit]
    for number, name in enumerate(names):
        changes = []
        for row in range(4):
            one = slice(row, row + 1)
            treated = done.apply(value[one], number, context.rows(one)) - value[one]
            itself = own.apply(value[one], number // 3, context.rows(one)) - value[one]
            torch.testing.assert_close(treated.norm(), itself.norm())
            if axis is not None:
                changed = treated.movedim(axis, 0).flatten(1).any(1)
                expected = itself.movedim(axis, 0).flatten(1).any(1)
                assert changed.sum() == expected.sum()
                assert "control" not in name or not (changed & expected).any()
            changes.append(treated)
        assert "control" not in name or len({tuple(each.flatten().tolist()) for each in changes}) == 4


def test_a_control_is_drawn_among_the_channels_that_the_value_would_change(context):
    value = torch.zeros_like(CODES)
    value[:, [1, 4]] = CODES[:, [1, 4]]
    done = Activation("layer", choose=[1], controls=1)
    change = done.do(value, 1, context) - value
    assert (change.flatten(2).any(2) == torch.tensor([False, False, False, False, True])).all()
    torch.testing.assert_close(change.flatten(1).norm(dim=1), value[:, 1].flatten(1).norm(dim=1))


@pytest.mark.parametrize("shape", [(3, 5, 4, 4), (3, 5), (3, 5, 6, 2)])
@pytest.mark.parametrize("of_all", [Zero(), Steering([0.5, 0, -2, 1, 3] * 2, strength=0.3), ReferenceMean()])
def test_many_channels_in_one_call_are_those_of_single_calls(shape, of_all, context):
    unit = "head" if shape == (3, 5, 6, 2) else "channel"
    if isinstance(of_all, Steering) and unit == "channel":
        of_all = Steering(of_all.direction[:5], of_all.strength)
    edit, random = Activation("layer", unit, of_all), torch.Generator().manual_seed(0)
    value = torch.randn(shape, generator=random)
    context = context._replace(reference=torch.randn(shape[1:], generator=random))
    number, new = edit.do_channels(value, [4, 0, 2], context)
    assert number.tolist() == [4, 0, 2]
    for row, channel in enumerate([4, 0, 2]):
        expected = edit.do(value[[row]], channel, context)[0, channel]
        assert torch.equal(new[row], expected)


class Half(Activation):
    """Activation whose do() halves a channel and adds 1, whatever its `value`."""

    def do(self, value, unit, context):
        return torch.cat([value[:, :unit], value[:, unit : unit + 1] / 2 + 1, value[:, unit + 1 :]], 1)


def test_a_subclass_that_overrides_do_is_measured_by_its_do():
    classifier, digits = dv.example()
    measured = dv.effect_map(classifier, digits.image, Half("relu")).effect
    relu, clean = classifier.network.relu, classifier(digits.image).softmax(1)
    for unit in range(measured.shape[1]):
        with relu.register_forward_hook(lambda module, given, value, unit=unit: Half("relu").do(value, unit, None)):
            treated = classifier(digits.image).softmax(1)
        torch.testing.assert_close(measured[:, unit], treated - clean, rtol=0, atol=1e-5)


class Largest(Zero):
    """Value that takes the unit's number for one of all rows, as values may that say nothing of rows."""

    def __call__(self, value, unit, context):
        return value[:, unit.number : unit.number + 1].amax((2, 3), keepdim=True).expand_as(unit.of(value))


def test_a_subclass_of_a_value_is_called_as_it_is_written(context):
    edit, value = Activation("layer", value=Largest()), torch.rand(2, 4, 2, 2)
    assert edit.do_channels(value, [0, 1], context) is None
    assert torch.equal(edit.do(value, 1, context)[:, 1], value[:, 1].amax((1, 2), keepdim=True).expand(2, 2, 2))
