"""Images that are kept come again bit for bit, for the very images that they were made of and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dovision.attacks.random_sign import RandomSign
from dovision.attacks.replay import NORM_FILE, Replay
from dovision.interfaces import Classifier
from dovision.store.adversarial_cache import Keeper
from dovision.types import Batch

EPS = (0.1, 8 / 255)


@pytest.fixture
def run(tmp_path: Path, classifier: Classifier, batch: Batch) -> Path:
    """A run that kept eight images under two epsilons, three images at a time, in another order than their samples."""
    attack = RandomSign(EPS)
    with Keeper(tmp_path, "attack", attack, images=8) as keeper:
        for rows in (slice(5, 8), slice(0, 3), slice(3, 5)):
            for eps in EPS:
                part = batch.rows(rows)
                keeper.add(eps, part._replace(image=attack(part, classifier, eps)))
    return tmp_path


def test_each_image_comes_again_under_each_epsilon(run, classifier, batch):
    kept = Replay(str(run))
    assert (kept.eps, kept.norm) == (EPS, "linf")
    for eps in EPS:
        for rows in ([0, 1, 2, 3], [7, 2]):
            expected = RandomSign(EPS)(batch.rows(rows), classifier, eps)
            assert torch.equal(kept(batch.rows(rows), classifier, eps), expected)
    assert kept.queries == {eps: 0 for eps in EPS}


def test_some_epsilons_can_be_chosen(run):
    assert Replay(str(run), eps="8/255").eps == (8 / 255,)
    with pytest.raises(ValueError, match=r"eps must be one that .*attack has, which are 0.1, 0.0313725, got 0\.2\."):
        Replay(str(run), eps=[0.1, 0.2])


def test_a_sample_that_was_not_kept_is_named(run, classifier, batch):
    other = batch._replace(sample=batch.sample + 1)
    with pytest.raises(ValueError, match=r"must hold each image that is attacked, got none of sample 41\."):
        Replay(str(run))(other, classifier, 0.1)


def test_images_of_another_dataset_are_refused(run, classifier, batch):
    with pytest.raises(ValueError, match=r"of this dataset, split and size, got some further than 0.1 from sample 40"):
        Replay(str(run))(batch._replace(image=batch.image.flip(0)), classifier, 0.1)


def test_images_of_another_size_are_refused(run, classifier, batch):
    larger = batch._replace(image=torch.zeros(8, 3, 9, 9))
    with pytest.raises(ValueError, match=r"got of shape \[3, 8, 8\] for \[3, 9, 9\]"):
        Replay(str(run))(larger, classifier, 0.1)


def test_a_run_without_kept_images_is_named_with_what_it_has(run, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pgd must hold attacked images, got none; it has attack\. Keep them"):
        Replay(str(run), "pgd")
    with pytest.raises(FileNotFoundError, match=r"got none\. Keep them: evaluation.store_adversarial=true"):
        Replay(str(tmp_path / "elsewhere"))


def test_nothing_is_left_of_an_attack_that_stopped_in_the_middle(tmp_path, classifier, batch):
    attack = RandomSign(EPS)
    with Keeper(tmp_path, "attack", attack, images=8) as keeper:
        keeper.add(EPS[0], batch)  # and none at the other epsilon
    assert not list(tmp_path.rglob("*.npy"))
    assert not list(tmp_path.rglob(NORM_FILE))


def test_images_are_kept_anew_in_place_of_older_ones(run, classifier, batch):
    with Keeper(run, "attack", RandomSign(0.3), images=2) as keeper:
        keeper.add(0.3, batch.rows([0, 1]))
    assert Replay(str(run)).eps == (0.3,)
    assert len(list(run.rglob("*.npy"))) == 2  # the images, and the keys
