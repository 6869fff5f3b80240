"""Effects whose products are in bfloat16 of the change alone: exact where it has few digits, close everywhere else."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

import dovision as dv
from dovision.functional.estimated_agreement import BF16_DIFFERENCE, check_agreement, check_samples, is_checked
from dovision.interfaces import Classifier
from dovision.module_state import evaluating
from dovision.propagation import Outcome, Propagation
from dovision.propagation.engine_choice import approximate_engine
from dovision.types import Batch

SIDE, CLASSES = 32, 5


def batch_of(images: int, channels: int = 3) -> Batch:
    image = torch.randint(0, 256, (images, channels, SIDE, SIDE), generator=torch.Generator().manual_seed(0)) / 256
    number = torch.arange(images)
    return Batch(image, number % CLASSES, number, number)


def logits(classifier: Classifier, batch: Batch, approximate: bool, chunk: int | str = "auto") -> torch.Tensor:
    """Logits after each edit of a grid, none of them measured exactly if `approximate`."""
    propagation = Propagation(classifier, dv.PixelGrid(4, 4), chunk)
    propagation.prepare(batch)
    if approximate:
        with evaluating(classifier):
            propagation.engine = approximate_engine(propagation._engines, classifier, batch.image[:1], BF16_DIFFERENCE)
    return propagation(batch).treated


def convolutional() -> nn.Module:
    """A stem that is exact, a residual block of 3 x 3, strided and 1 x 1 convolutions, and a head."""
    torch.manual_seed(0)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 48, 3, padding=1)
            self.wide = nn.Sequential(nn.Conv2d(48, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48), nn.ReLU())
            self.narrow = nn.Sequential(nn.Conv2d(48, 144, 3, padding=1, stride=2), nn.GELU(), nn.Conv2d(144, 144, 1))
            self.head = nn.Linear(144, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.stem(x).relu()
            return self.head(self.narrow(x + self.wide(x)).mean((2, 3)))

    return Block()


NETWORKS = {
    "convolutions": convolutional,
    "tokens": lambda: timm.create_model(
        "vit_tiny_patch16_224", img_size=SIDE, patch_size=8, depth=1, embed_dim=192, num_classes=CLASSES
    ),
    "windows": lambda: timm.create_model(
        "swin_tiny_patch4_window7_224",
        **{"img_size": SIDE, "window_size": 4, "embed_dim": 192, "depths": (2,), "num_heads": (3,)},
        num_classes=CLASSES,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_off_by_hundredths_of_what_the_edits_change_of_any_number_of_images(name):
    torch.manual_seed(0)
    classifier, batch = dv.wrap(NETWORKS[name](), CLASSES), batch_of(3)
    exact, rough = logits(classifier, batch, False), logits(classifier, batch, True)
    with torch.no_grad(), evaluating(classifier):
        change = (exact - classifier(batch.image).unsqueeze(1)).abs().amax()
    assert 0 < (rough - exact).abs().max() < 0.05 * change
    in_chunks, of_one = logits(classifier, batch, True, chunk=16), logits(classifier, batch.rows(slice(1, 2)), True)
    for other, rows in ((in_chunks, slice(None)), (of_one, slice(1, 2))):
        torch.testing.assert_close(other, rough[rows], rtol=0, atol=0.05 * change.item())


def test_a_change_of_eight_binary_digits_is_exact_however_large_the_clean_values():
    torch.manual_seed(0)
    convolution = nn.Conv2d(256, 256, 1)
    convolution.weight.data = torch.randint(-1, 2, convolution.weight.shape).float() / 64
    convolution.bias.data.fill_(1000.0)
    stem = nn.Conv2d(1, 256, 1, bias=False)
    stem.weight.data = 2.0 ** torch.randint(-2, 1, stem.weight.shape)
    head = nn.Linear(256, CLASSES)  # of too few channels to gain, and so exact
    classifier = dv.wrap(nn.Sequential(stem, convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head), CLASSES)
    batch = batch_of(2, channels=1)
    change = logits(classifier, batch, True) - logits(classifier, batch, False)
    assert change.abs().max() < 2e-4  # of logits in the hundreds: rounding of single precision


def test_an_outcome_comes_with_the_agreement_that_it_reached():
    torch.manual_seed(0)
    classifier, batch = dv.wrap(convolutional(), CLASSES), batch_of(2)
    outcome = Propagation(classifier, dv.PixelGrid(8, 8), approximate=BF16_DIFFERENCE)(batch)
    assert str(outcome.approximation).startswith("approximate=bf16_difference: an estimated rank correlation of 0.99")
    assert min(outcome.approximation.means) > 0.99
    exact = Propagation(classifier, dv.PixelGrid(8, 8))(batch).treated
    measured = outcome.approximation.exact
    torch.testing.assert_close(outcome.treated[measured], exact[measured], rtol=0, atol=1e-6)


def test_the_first_images_are_checked_and_an_eighth_of_the_others_in_whatever_batch():
    torch.manual_seed(0)
    classifier, number = dv.wrap(convolutional(), CLASSES), torch.arange(10, 22)
    batch = batch_of(12)._replace(sample=number)
    propagation = Propagation(classifier, dv.PixelGrid(3, 3), approximate=BF16_DIFFERENCE)
    outcome = propagation(batch)
    checked = torch.tensor([is_checked(sample, BF16_DIFFERENCE) for sample in number.tolist()])
    assert torch.equal(outcome.approximation.exact.any(1), checked)
    assert len(outcome.approximation.rank_correlation) == checked.sum()
    alone = Outcome.of_batches([propagation(batch.rows(slice(row, row + 1))) for row in range(12)])
    torch.testing.assert_close(alone.treated, outcome.treated, rtol=0, atol=1e-4)
    assert torch.equal(alone.approximation.exact, outcome.approximation.exact)
    assert all(is_checked(sample, BF16_DIFFERENCE) for sample in range(16))
    for block in range(16, 96, 8):
        assert sum(is_checked(sample, BF16_DIFFERENCE) for sample in range(block, block + 8)) == 1


@pytest.mark.parametrize(("ranks", "overlap"), [(0.9989, 1.0), (1.0, 0.94)])
def test_too_little_agreement_is_refused(ranks, overlap):
    check_agreement(BF16_DIFFERENCE, 0.999, 0.95)
    with pytest.raises(ValueError, match=r"must agree with exact effects to 0.999 in rank correlation and 0.95"):
        check_agreement(BF16_DIFFERENCE, ranks, overlap)


def test_a_network_of_few_channels_is_refused():
    narrow = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, CLASSES))
    with pytest.raises(ValueError, match="convolutions or linear layers of many channels"):
        dv.effect_map(dv.wrap(narrow, CLASSES), batch_of(1).image, approximate="bf16_difference", progress=False)


def test_images_of_which_none_would_be_checked_are_refused():
    unchecked = [sample for sample in range(16, 200) if not is_checked(sample, BF16_DIFFERENCE)]
    assert 150 < len(unchecked) < 170
    with pytest.raises(ValueError, match="checked on images 0 to 15 and an eighth of the others, got a run with none"):
        check_samples(BF16_DIFFERENCE, unchecked)
    check_samples(BF16_DIFFERENCE, [*unchecked, 3])
