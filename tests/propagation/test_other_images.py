"""What the image by which an engine was tried does not show: other sizes, other contents, other units."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from dovision.functional.geometry import grid_cell
from dovision.propagation import Propagation, engine_choice
from dovision.propagation.incremental import Incremental
from dovision.propagation.whole_passes import WholePasses
from dovision.types import Box

from .conftest import GRID, Painted, agreeing, assert_equal, batch_of, classifier_of, expected_outcome


def convolutions(*between, end=None):
    torch.manual_seed(0)
    end = nn.AdaptiveAvgPool2d(4) if end is None else end
    layers = (nn.Conv2d(1, 4, 3, padding=1), *between, nn.Conv2d(4, 4, 3, padding=1), end)
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(5))


@torch.no_grad()
def ready(network, side=16):
    network(torch.zeros(1, 1, side, side))
    return network.eval()


class MeanBySize(nn.Module):
    """A mean for which the size is read, so that a trace holds it as a number."""

    def forward(self, x):
        return x.sum((2, 3)) / (x.shape[2] * x.shape[3])


@pytest.mark.parametrize("site", ["input", "0"])
def test_images_of_another_size_get_an_engine_of_their_own(site):
    classifier = classifier_of(ready(convolutions(nn.ReLU(), end=MeanBySize())))
    propagation = Propagation(classifier, Painted(GRID, site))
    for side in (16, 24, 16):
        batch = batch_of(2, 1, side, side)
        assert_equal(propagation(batch), expected_outcome(classifier, propagation.intervention, batch))
        assert isinstance(propagation.engine, Incremental)


def test_a_batch_without_images_is_refused():
    propagation = Propagation(classifier_of(ready(convolutions())), Painted(GRID))
    with pytest.raises(ValueError, match=r"batch must hold at least one image, got images of shape \(0, 1, 16, 16\)"):
        propagation(batch_of(0, 1, 16, 16))


class Attending(nn.Module):
    """Convolutions, whose edits are worth an engine where they are small, and places that attend to each other."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        tokens = self.second(F.relu(self.first(x))).flatten(2)
        return self.head((tokens @ (tokens.transpose(1, 2) @ tokens).softmax(-1)).mean(2))


@pytest.mark.parametrize("prepared", [False, True])
@pytest.mark.parametrize("also_refused", [False, True])
def test_images_in_the_same_memory_get_passes_of_their_own(prepared, also_refused, monkeypatch):
    monkeypatch.setattr(engine_choice, "WORTH_IT", 0.9)
    classifier, batch = classifier_of(Attending().eval()), batch_of(1, 1, 16, 16)
    for power in (1, 2, 3):
        batch.image.copy_(torch.rand(1, 1, 16, 16) ** power)
        propagation = Propagation(classifier, Painted(GRID))
        if prepared:
            propagation.prepare(batch)
            batch.image.mul_(0.3)
        assert_equal(propagation(batch), expected_outcome(classifier, propagation.intervention, batch))
        assert isinstance(propagation.engine, Incremental)
        if also_refused:
            refused = Propagation(classifier, Painted([[Box(0, 0, 16, 15)]]))
            refused(batch)
            assert type(refused.engine) is WholePasses


def clipped(module, inputs, output):
    """Scaled down to a norm that few images have."""
    return output * (4.0 / output.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).clamp(max=1)


@pytest.mark.parametrize("before", [False, True])
def test_a_hook_sees_whole_maps(before):
    network = ready(convolutions(nn.ReLU()))
    shapes = []
    if before:
        network[1].register_forward_pre_hook(lambda module, inputs: shapes.append(inputs[0].shape[1:]))
    else:
        network[1].register_forward_hook(clipped)
        network[1].register_forward_hook(lambda module, inputs, output: shapes.append(output.shape[1:]))
    classifier, batch = classifier_of(network), batch_of(2, 1, 16, 16)
    batch.image[0] *= 0.1
    assert isinstance(agreeing(classifier, Painted(GRID), batch).engine, Incremental)
    assert set(shapes) == {(4, 16, 16)}


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
@pytest.mark.parametrize("factor", [2.1, (2, 2.1), 2.0, (1, 3)])
@pytest.mark.parametrize("recomputed", [None, True])
def test_places_of_an_enlarged_map_are_found_as_torch_finds_them(mode, factor, recomputed):
    enlarged = nn.Upsample(scale_factor=factor, mode=mode, recompute_scale_factor=recomputed)
    network = convolutions(enlarged, end=nn.Identity())
    classifier, batch = classifier_of(ready(network, side=8)), batch_of(2, 1, 8, 8)
    each = [[grid_cell((1, 8, 8), unit, 8, 8)] for unit in range(64)]
    agreeing(classifier, Painted(each), batch)


class Shared(nn.Module):
    """Adds a map that is one for all images, though it takes its type, or its device, from them."""

    def __init__(self, made):
        super().__init__()
        self.register_buffer("places", torch.rand(1, 4, 16, 16))
        self.made = made

    def forward(self, x):
        return F.relu(x + self.made(self.places, x))


@pytest.mark.parametrize("site", ["input", "0", "2"])
@pytest.mark.parametrize(
    "made",
    [
        lambda places, x: places.type_as(x),
        lambda places, x: places.to(x),
        lambda places, x: x.new_zeros(1, 4, 1, 1) + places,
        lambda places, x: x.new_ones(16),
        lambda places, x: x.new_full((), 2.0),
    ],
    ids=["type_as", "to", "new_zeros", "new_ones", "new_full"],
)
@pytest.mark.parametrize("images", [1, 3])
def test_a_value_that_all_images_share_is_that_of_each(site, made, images):
    classifier, batch = classifier_of(ready(convolutions(Shared(made), nn.ReLU()))), batch_of(images, 1, 16, 16)
    assert isinstance(agreeing(classifier, Painted(GRID, site), batch).engine, Incremental)


class EditedThroughAView(nn.Module):
    """Edits part of a map in place, of which a trace knows the part alone."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        x = F.relu(x)
        if self.kind == "part":
            x[:, :2].mul_(0.5)
        elif self.kind == "method":
            x.narrow(1, 0, 2).mul_(0.5)
        elif self.kind == "view of a view":
            x.view(x.shape[0], -1).view(x.shape)[:, :2].mul_(0.5)
        elif self.kind == "part of a split":
            x.chunk(2, 1)[0].mul_(0.5)
        elif self.kind == "same memory":
            F.dropout(x.contiguous(), training=False).float().mul_(0.5)
        elif self.kind == "sibling":
            one, other = x.flatten(2), x.flatten(2)
            one.mul_(0.5)
            x = other.view(x.shape)
        elif self.kind == "tuple":
            halves = x.split(2, 1)
            halves[0].mul_(0.5)
            x = torch.cat(halves, 1)
        elif self.kind == "out":
            torch.mul(x, 0.5, out=x)
        else:
            flat = x.flatten(2)
            x.mul_(0.5)
            x = x + flat.view(x.shape)
        return x


class Masked(nn.Module):
    def forward(self, x):
        return x.masked_fill(torch.tensor([False, False, True, False, False]), -1e4)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "kind", ["part", "method", "view of a view", "part of a split", "same memory", "sibling", "tuple", "out", "base"]
)
def test_an_edit_in_place_through_a_view_is_not_lost(kind, masked, caplog):
    network = nn.Sequential(*convolutions(EditedThroughAView(kind)), Masked() if masked else nn.Identity())
    classifier, batch = classifier_of(ready(network)), batch_of(2, 1, 16, 16)
    propagation = Propagation(classifier, Painted(GRID))
    expected = expected_outcome(classifier, propagation.intervention, batch)
    torch.testing.assert_close(propagation(batch).treated, expected.treated, rtol=1e-5, atol=1e-5)
    assert type(propagation.engine) is WholePasses
    assert "is read after an edit in place" in caplog.text or "out=" in caplog.text


def test_a_copy_may_be_edited_in_place():
    class Copied(nn.Module):
        def forward(self, x):
            x = torch.mul(F.relu(x), 2.0, out=None)
            chosen = x[:, [0, 1]]
            chosen.clamp_(max=0.1)
            x.clone().mul_(3)
            return torch.cat([x[:, 2:], chosen], 1)

    classifier, batch = classifier_of(ready(convolutions(Copied()))), batch_of(2, 1, 16, 16)
    assert isinstance(agreeing(classifier, Painted(GRID), batch).engine, Incremental)


@pytest.mark.parametrize(
    "chosen",
    [
        lambda tokens, rows: tokens[rows, 0],
        lambda tokens, rows: tokens.index_select(0, rows)[:, 0],
        lambda tokens, rows: tokens[rows + 0, rows * 0],
    ],
    ids=["indexed", "index_select", "computed"],
)
@pytest.mark.parametrize("site", ["input", "0", "2"])
@pytest.mark.parametrize("images", [1, 3])
def test_rows_may_be_named_by_their_numbers(chosen, site, images):
    class Numbered(nn.Module):
        def forward(self, x):
            tokens = x.flatten(2).transpose(1, 2)
            return chosen(tokens, torch.arange(tokens.shape[0]))

    classifier = classifier_of(ready(convolutions(nn.ReLU(), end=Numbered())))
    batch = batch_of(images, 1, 16, 16)
    agreeing(classifier, Painted(GRID, site), batch)


@pytest.mark.parametrize("huge", [-1e4, 1e4, -1e30, -torch.inf])
def test_a_huge_logit_does_not_hide_wrong_ones(huge, monkeypatch):
    class Saturated(nn.Module):
        def forward(self, x):
            return torch.cat([x[:, :4], torch.full_like(x[:, 4:], huge)], 1)

    network = nn.Sequential(*convolutions(nn.ReLU()), Saturated())
    classifier, batch = classifier_of(ready(network)), batch_of(1, 1, 16, 16)
    assert isinstance(Propagation(classifier, Painted(GRID)).prepare(batch), Incremental)
    run = Incremental.run
    monkeypatch.setattr(Incremental, "run", lambda *arguments: run(*arguments) + 1e-2)
    assert type(Propagation(copy.deepcopy(classifier), Painted(GRID)).prepare(batch)) is WholePasses


class Recurrent(nn.Module):
    """An LSTM over the rows of a channel, whose last state is edited in place where it is large."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(16, 8, batch_first=True), nn.Linear(8, 5)

    def forward(self, x):
        out = self.lstm(x[:, 0])
        out[1][0].clamp_(max=0.05)
        return self.head(out[1][0][0])


class Aliased(nn.Module):
    """Edits a map, of a name that is read later, by another one, where its values are large."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        if self.kind == "assignment":
            y = x
            y -= F.relu(x - 0.5)
        elif self.kind == "power":
            y = x
            y **= 1 + (x > 0.5)
        elif self.kind == "rest":
            y = x
            y %= 0.5
        elif self.kind == "same device":
            x.to(x.device).clamp_(max=0.5)
        elif self.kind == "by name":
            torch.clamp_(input=x, max=0.5)
        else:
            x = F.relu(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            x.flatten(1).clamp_(max=0.5)
        return x * 1


@pytest.mark.parametrize("kind", ["assignment", "power", "rest", "same device", "by name", "flat"])
def test_an_edit_that_the_image_tried_does_not_show_is_made(kind):
    classifier, batch = classifier_of(ready(convolutions(Aliased(kind)))), batch_of(2, 1, 16, 16)
    batch.image[0] *= 0.01
    propagation = agreeing(classifier, Painted(GRID), batch)
    assert isinstance(propagation.engine, Incremental) == (kind in ("assignment", "power", "rest"))


def test_so_is_one_of_the_state_of_an_lstm():
    classifier, batch = classifier_of(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), Recurrent())), batch_of(2, 1, 16, 16)
    batch.image[0] *= 0.01
    with torch.no_grad():
        agreeing(classifier, Painted(GRID), batch)


def test_an_edit_of_a_value_that_follows_from_sizes_is_made():
    class Queried(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.query = nn.Parameter(torch.rand(1, 4, 16, 16)), nn.Conv2d(4, 4, 1)

        def forward(self, x):
            return x * self.query(self.token.expand(x.shape[0], -1, -1, -1))

    classifier, batch = classifier_of(ready(convolutions(Queried()))), batch_of(2, 1, 16, 16)
    assert isinstance(agreeing(classifier, Painted(GRID, "1.query"), batch).engine, Incremental)
