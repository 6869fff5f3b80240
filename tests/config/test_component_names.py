"""What settings that were read, not typed, may say."""

from __future__ import annotations

import pytest

from dovision.config.component_names import check_stored

PICTURES = {"_target_": "dovision.datasets.image_folder.ImageFolder", "root": "x"}


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_convert_", "_recursive_"])
def test_they_do_not_say_how_a_component_is_made(key):
    with pytest.raises(ValueError, match=rf"dataset\.{key} in run is True, which only a command may say"):
        check_stored({"dataset": {**PICTURES, key: True}}, "run", "trust_checkpoint=true")


def test_an_optimizer_is_made_in_part():
    optimizer = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.1}
    check_stored({"dataset": PICTURES, "optimizer": optimizer}, "run", "trust_checkpoint=true")


def test_a_loss_of_an_attack_is_made_in_part():
    loss = {"_target_": "dovision.attacks.losses.task_loss", "_partial_": True}
    check_stored({"attack": {"_target_": "dovision.attacks.gradient_ascent.PGD", "loss": loss}}, "run", "")
