"""Lightning's trainer as a run gets it, and the settings that it is not to be given."""

import pytest
from omegaconf import OmegaConf
from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator

from dovision.config.component import Component
from dovision.config.sources import configuration_folder
from dovision.training.trainer import limits, make_trainer
from made_config import read

ALLOWED = set(OmegaConf.load(configuration_folder() / "trainer" / "default.yaml")) - {"_target_"}


@pytest.fixture
def configured():
    return read().trainer


def test_every_key_reaches_the_trainer():
    asked = {key: f"any {key}" for key in ALLOWED} | {"inference_mode": False, "fast_dev_run": False}
    made = make_trainer(Component("trainer", asked | {"_target_": "builtins.dict"}), [], max_epochs=3)
    assert {key: made[key] for key in ALLOWED} == asked
    assert made["max_epochs"] == 3


WHOLE = {"limit_train_batches": 1.0, "limit_val_batches": 1.0, "limit_test_batches": 1.0, "overfit_batches": 0}


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (WHOLE, {}),
        ({**WHOLE, "fast_dev_run": False}, {}),
        ({**WHOLE, "limit_test_batches": 1}, {"trainer.limit_test_batches": 1}),
        ({**WHOLE, "limit_train_batches": 0.5}, {"trainer.limit_train_batches": 0.5}),
        ({**WHOLE, "overfit_batches": 3}, {"trainer.overfit_batches": 3}),
        ({**WHOLE, "fast_dev_run": True}, {"trainer.fast_dev_run": True}),
        ({}, {}),
    ],
    ids=str,
)
def test_a_trainer_is_limited_by_fewer_batches_than_there_are(settings, found):
    assert limits(settings) == found


@pytest.mark.parametrize("key", ["limit_train_batches", "limit_val_batches", "limit_test_batches"])
@pytest.mark.parametrize("value", [0, 0.0])
def test_a_limit_that_leaves_no_batch_is_refused(key, value):
    asked = Component("trainer", {"_target_": "builtins.dict", key: value})
    with pytest.raises(ValueError, match=f"trainer.{key} must leave a batch, got {value}. Set a number of batches"):
        make_trainer(asked, [])


@pytest.mark.parametrize(("value", "batches"), [(True, 1), (3, 3)])
def test_a_fast_run_takes_a_batch_of_each_kind_for_an_epoch_at_most(value, batches):
    asked = Component("trainer", {"_target_": "builtins.dict", **WHOLE, "fast_dev_run": value})
    limited = {key: batches for key in WHOLE if key.startswith("limit")}
    for epochs, expected in ((20, 1), (0, 0)):
        made = make_trainer(asked, [], max_epochs=epochs)
        assert limited.items() <= made.items()
        assert (made["fast_dev_run"], made["num_sanity_val_steps"], made["max_epochs"]) == (False, 0, expected)
    assert "max_epochs" not in make_trainer(asked, [])


@pytest.mark.parametrize("name", sorted(path.stem for path in (configuration_folder() / "trainer").glob("*.yaml")))
def test_every_trainer_is_what_lightning_takes_and_measures_whole_runs(name):
    configured = read(f"trainer={name}").trainer
    assert limits(configured) == {}
    there = {"gpu": CUDAAccelerator.is_available(), "mps": MPSAccelerator.is_available()}
    if there.get(configured["accelerator"], True):
        assert make_trainer(configured, []).num_devices == configured["devices"]
    else:
        with pytest.raises(ValueError, match=f"got accelerator={name}"):
            make_trainer(configured, [])
