"""The loaders of a dataset: what is in a batch, in which order, on which device."""

from itertools import chain

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

import dovision as dv
from made_tables import open_table, write_table
from made_trainer import quiet_trainer

CLASSES = tuple(map(str, range(10)))


@pytest.fixture(scope="module")
def images():
    return dv.Digits("multiclass", CLASSES, (1, 8, 8), 0.2, 0.05, 0)


class Ranked:
    """A trainer of several devices, as one of them sees it."""

    def __init__(self, world_size: int, global_rank: int) -> None:
        self.world_size, self.global_rank = world_size, global_rank


def samples(loader):
    return [batch.sample.tolist() for batch in loader]


def flat(batches):
    return list(chain.from_iterable(batches))


def epochs(data, count=3):
    loader = data.train_dataloader()
    return [flat(samples(loader)) for _ in range(count)]


def test_the_order_is_that_of_torchs_own_shuffling_loader(images):
    generator = torch.Generator().manual_seed(0)
    own = DataLoader(images.split("train"), batch_size=16, shuffle=True, generator=generator)
    assert epochs(dv.ImageDataModule(images)) == [flat(samples(own)) for _ in range(3)]
    assert epochs(dv.ImageDataModule(images)) != epochs(dv.ImageDataModule(images, seed=1))


def test_a_restored_module_goes_on_with_the_order_that_was_due(images):
    data, other = dv.ImageDataModule(images), dv.ImageDataModule(images)
    expected = epochs(data, 3)
    again = dv.ImageDataModule(images)
    epochs(again, 1)
    other.load_state_dict(again.state_dict())
    assert epochs(other, 2) == expected[1:]


def test_devices_share_out_the_training_images(images):
    shares = []
    for rank in range(2):
        data = dv.ImageDataModule(images, train_batch_size=1000)
        data.trainer = Ranked(2, rank)
        shares.append(epochs(data, 1)[0])
    assert len(shares[0]) == len(shares[1])
    assert {*shares[0], *shares[1]} == set(range(len(images.split("train"))))
    assert len({*shares[0]} & {*shares[1]}) <= 1  # of an odd number one image comes twice


def test_validation_draws_nothing_from_the_global_generator(images):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    found = samples(dv.ImageDataModule(images, val_batch_size=100).val_dataloader())
    assert flat(found) == list(range(len(images.split("val"))))
    assert len(found[0]) == 100
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("chosen", [None, [5, 3, 8, 13, 21, 34, 55]])
def test_each_device_tests_whole_batches_the_same_as_one_device(images, devices, chosen):
    found = []
    for rank in range(devices):
        data = dv.ImageDataModule(images, test_batch_size=2, test_samples=chosen)
        data.trainer = Ranked(devices, rank)
        found += samples(data.test_dataloader())
    assert found == samples(dv.ImageDataModule(images, test_batch_size=2, test_samples=chosen).test_dataloader())
    assert flat(found) == (list(range(len(images.split("test")))) if chosen is None else chosen)


def test_fewer_batches_than_devices_are_refused(images):
    data = dv.ImageDataModule(images, test_samples=range(65))
    data.trainer = Ranked(3, 0)
    with pytest.raises(ValueError, match=r"trainer.devices must be at most the number of batches, 2 of 64 images, got"):
        data.test_dataloader()


def test_lightning_cuts_no_share_again(images):
    """A plain script leaves use_distributed_sampler as it is; both devices together test each image once."""
    trainer = quiet_trainer(devices=2, strategy="ddp_fork")
    tested = trainer.test(Counting(), datamodule=dv.ImageDataModule(images, test_batch_size=8), verbose=False)
    assert tested == [{"images": len(images.split("test"))}]


class Counting(pl.LightningModule):
    def test_step(self, batch: dv.Batch, batch_idx: int) -> None:
        self.log("images", float(len(batch.image)), reduce_fx="sum", sync_dist=True)


def test_the_first_images_of_val_and_test_are_for_detection(images):
    data = dv.ImageDataModule(images, test_batch_size=3, test_samples=[1])
    val, test = data.detection_dataloaders(4, None)
    assert samples(val) == [[0, 1, 2], [3]]
    assert flat(samples(test)) == list(range(len(images.split("test"))))


@pytest.mark.parametrize(
    ("key", "value"), [("train_batch_size", 0), ("val_batch_size", 1.5), ("test_batch_size", True), ("num_workers", -1)]
)
def test_sizes_that_are_none_are_refused_by_name(images, key, value):
    with pytest.raises(ValueError, match=f"^{key} must be a whole number of at least"):
        dv.ImageDataModule(images, **{key: value})


def test_detection_needs_validation_images(tmp_path):
    data = dv.ImageDataModule(open_table(write_table(tmp_path, ["test"] * 12)))
    with pytest.raises(ValueError, match="detection needs val images, but this dataset has test alone. Choose another"):
        data.detection_dataloaders(None, None)
