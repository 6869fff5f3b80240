"""The adaptive attacker where the answers are known by hand, and against detectors that it must evade."""

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from dovision.functional.norms import size
from dovision.functional.rng import uniform
from dovision.interfaces import Classifier, Detector
from dovision.measurement.adaptive_attack import OTHER_DRAWS, Adaptive, Budget, Opponent, adaptive_rows, without
from dovision.measurement.detector_fits import Fitted
from dovision.results.detection_tables import ADAPTIVE_STEPS, SCORES
from dovision.types import Batch, Task
from tests.measurement.conftest import Brightness


class Brighter(Detector):
    """The score is the mean: the brighter, the likelier attacked."""

    passes = 0

    def read_features(self, batch, classifier):
        return batch.image.mean((1, 2, 3)).unsqueeze(1)


class Drawn(Brighter):
    """The mean, and a random number of each sample; remembers of which samples it drew."""

    strength = 1.0

    def __init__(self):
        self.samples = []

    def read_features(self, batch, classifier):
        self.samples.append(batch.sample.tolist())
        noise = self.strength * uniform((1,), 0, batch.sample)
        return super().read_features(batch, classifier) + noise


CLASSIFIER = Classifier(Brightness(), Task("multiclass", ("dark", "bright")), [0.0], [1.0])


def grey(*means: float) -> Batch:
    number = torch.arange(len(means))
    return Batch(torch.tensor(means).view(-1, 1, 1, 1).repeat(1, 1, 2, 2), number * 0, number, number)


def attacked(limit: float, detector: Detector, eps: float = 0.2, **settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    attack = Adaptive(eps, Opponent(detector, limit), Budget(30), **settings)
    fitted = Fitted("brighter", "as is", "", detector)
    (rows,) = adaptive_rows(fitted, attack, [grey(0.4, 0.45)], CLASSIFIER)
    return rows[SCORES].to_pandas(), rows[ADAPTIVE_STEPS].to_pandas()


def test_images_that_are_known_are_not_attacked_again():
    attack = Adaptive([0.1, 0.2], Opponent(Brighter(), 0.55), Budget(3))
    given = Fitted("brighter", "as is", "", Brighter()), attack, [grey(0.4, 0.45), grey(0.3, 0.6)], CLASSIFIER
    every = [rows[SCORES] for rows in adaptive_rows(*given)]
    for known in (4, 8):
        assert [rows[SCORES] for rows in adaptive_rows(*given, known)] == every[known // 4 :]


def test_the_lowest_score_that_fools_the_classifier_is_found():
    scores, steps = attacked(0.55, Brighter())
    assert set(scores["attack"]) == {"adaptive"}
    assert scores["success"].all()
    assert scores["score"].between(0.5, 0.55).all()
    found = steps.groupby("direction")["first"].count().to_dict()
    assert found == {"weighted": 2, "selective": 0, "orthogonal": 0}  # nothing is left for these
    assert attacked(128 / 255, Brighter())[1]["rounded"].all()  # in whole levels, the score is the threshold


def test_a_detector_that_sees_all_that_fools_the_classifier_is_not_evaded():
    scores, steps = attacked(0.45, Brighter())
    assert scores["success"].all()
    assert (scores["score"] > 0.45).all()
    assert steps["first"].isna().all()
    assert not steps["rounded"].any()


def test_random_reads_are_averaged_over_draws_that_are_not_the_detectors_own():
    detector = Drawn()
    attack = Adaptive(0.2, Opponent(detector, -1.0), Budget(1, draws=3))
    attack(grey(0.4, 0.45), CLASSIFIER, 0.2)
    own, _, *reads = detector.samples  # the first two find out whether reads are random
    assert own == [0, 1]
    assert len(reads) == 3 * 2 * 3  # directions, states, draws
    assert len({tuple(samples) for samples in reads}) == 3
    assert [0, 1] not in reads


def test_detectors_without_random_reads_are_read_once_a_step():
    detector = Drawn()
    detector.strength = 0.0
    Adaptive(0.2, Opponent(detector, -1.0), Budget(1, draws=3))(grey(0.4, 0.45), CLASSIFIER, 0.2)
    assert detector.samples[2:] == [[0, 1]] * 3 * 2  # directions, states


def test_orthogonal_gradients_leave_the_other_as_it_is():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 3, 1, 4, 4, generator=generator)
    torch.testing.assert_close((without(one, other) * other).sum((1, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)


class FirstPixel(nn.Module):
    """Logits 0 and the first pixel minus a limit."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, image: Tensor) -> Tensor:
        first = image.flatten(1)[:, :1] - self.limit
        return torch.cat([0 * first, 40 * first], 1)


class SecondPixel(Detector):
    """The score is the second pixel."""

    passes = 0

    def read_features(self, batch, classifier):
        return batch.image.flatten(1)[:, 1:2]


def evading(norm: str, eps: float, batch: Batch, **settings) -> tuple[Adaptive, Tensor]:
    """Attack where the first pixel must rise by .2 and the second one fall by .1, from grey: all else is free."""
    classifier = Classifier(FirstPixel(0.7), CLASSIFIER.task, [0.0], [1.0])
    budget = Budget(**{"steps": 60, **settings})
    attack = Adaptive(eps, Opponent(SecondPixel(), 0.4), budget, norm, seed=3)
    return attack, attack(batch, classifier)


@pytest.mark.parametrize(("norm", "least"), [("linf", 0.2), ("l2", 0.05**0.5), ("l1", 0.3)])
def test_images_evade_exactly_where_the_budget_reaches_the_known_set(norm, least):
    reaching, image = evading(norm, 1.1 * least, grey(0.5, 0.5, 0.5))
    assert (torch.stack([*reaching.first.values()]).amax(0) >= 0).all()
    assert ((image.flatten(1)[:, 0] > 0.7) & (image.flatten(1)[:, 1] <= 0.4)).all()
    short, _ = evading(norm, 0.95 * least, grey(0.5, 0.5, 0.5), restarts=2)
    assert (torch.stack([*short.first.values()]) < 0).all()


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.25), ("l2", 0.6), ("l1", 0.9)])
def test_no_image_leaves_its_budget_and_none_depends_on_the_batch(norm, eps):
    random = torch.Generator().manual_seed(0)
    number = torch.tensor([5, 2, 9, 4])
    batch = Batch(torch.rand(4, 1, 3, 3, generator=random), number * 0, number, number)
    _, image = evading(norm, eps, batch, restarts=3, steps=8)
    assert (size(image - batch.image, norm) <= eps + 1e-6).all()
    assert image.min() >= 0
    assert image.max() <= 1
    alone = torch.cat([evading(norm, eps, batch.rows([row]), restarts=3, steps=8)[1] for row in (3, 2, 1, 0)])
    assert torch.equal(alone.flip(0), image)


class RightHalf(nn.Module):
    """Logits are the light in either half of the image."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack([half.sum((1, 2, 3)) for half in image.chunk(2, 3)], 1)


@pytest.mark.parametrize(("eps", "evades"), [(2.2, True), (0.5, False)])
def test_a_spatial_attacker_evades_where_its_shift_crosses_the_middle(eps, evades):
    image = torch.zeros(3, 1, 10, 10)
    image[..., 4:6, 3] = 1.0  # its centre is 1.5 pixels left of the middle
    number = torch.arange(3)
    attack = Adaptive(eps, Opponent(Brighter(), 1.0), Budget(steps=40), "spatial")
    attack(Batch(image, number * 0, number, number), Classifier(RightHalf(), CLASSIFIER.task, [0.0], [1.0]))
    assert (attack.first["search"] >= 0).tolist() == [evades] * 3


def test_what_evades_a_small_budget_is_not_attacked_with_a_larger_one():
    attack = Adaptive([0.3, 0.2], Opponent(Brighter(), 0.55), Budget(30))
    (rows,) = adaptive_rows(Fitted("one", "as is", "", Brighter()), attack, [grey(0.4, 0.45)], CLASSIFIER)
    found = rows[ADAPTIVE_STEPS].to_pandas().groupby(["eps", "direction"], observed=True)["first"].agg(list)
    assert found[0.2].equals(found[0.3])
    assert set(attack.queries) == {0.2}


def test_what_only_the_mean_of_other_draws_misses_does_not_evade():
    class HighDraw(Brighter):
        """Reads that are higher for the samples' own numbers than for all others."""

        def read_features(self, batch, classifier):
            own = (batch.sample < OTHER_DRAWS).to(batch.image)
            return super().read_features(batch, classifier) + own.unsqueeze(1)

    attack = Adaptive([0.2, 0.3], Opponent(HighDraw(), 0.55), Budget(30))
    (rows,) = adaptive_rows(Fitted("one", "as is", "", HighDraw()), attack, [grey(0.4, 0.45)], CLASSIFIER)
    assert (torch.stack([*attack.first.values()]).amax(0) >= 0).all()
    assert rows[SCORES].to_pandas()["success"].all()
    assert (rows[SCORES].to_pandas()["score"] > 0.55).all()
    assert rows[ADAPTIVE_STEPS].to_pandas()[["first", "start"]].isna().all(axis=None)
    assert set(attack.queries) == {0.2, 0.3}


def test_every_target_has_its_starts():
    classifier = Classifier(Falling(), Task("multiclass", ("a", "b", "c", "d")), [0.0], [1.0])
    attack = Adaptive(0.1, Opponent(Brighter(), -1.0), Budget(1, restarts=2, targets=3))
    (rows,) = adaptive_rows(Fitted("one", "as is", "", Brighter()), attack, [grey(0.5)], classifier)
    assert set(rows[ADAPTIVE_STEPS].to_pandas()["starts"]) == {6}


class Falling(nn.Module):
    """Four logits in falling order."""

    def forward(self, image: Tensor) -> Tensor:
        return image.mean((1, 2, 3)).unsqueeze(1) * torch.tensor([4.0, 3.0, 2.0, 1.0])
