"""Images of anybody's dataloader: each once on any number of devices, in [0, 1], under the number of its place."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset, TensorDataset

from dovision.interfaces import Classifier
from dovision.measurement.device_batches import DeviceBatches
from dovision.types import Batch, Task

CLASSIFIER = Classifier(torch.nn.Identity(), Task("multiclass", tuple(map(str, range(12)))), [0.0], [1.0])


def pairs(images: int) -> TensorDataset:
    image = torch.rand(images, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    return TensorDataset(image, torch.arange(images))


def batches(loader: DataLoader, rank: int = 0, devices: int = 1, mean=None, std=None) -> Iterator[Batch]:
    taken = DeviceBatches(loader, rank, devices, mean, std)
    return (taken.take(batch, CLASSIFIER) for batch in loader)


@settings(deadline=None)
@given(images=st.integers(2, 12), devices=st.integers(1, 4), size=st.integers(1, 5), shuffle=st.booleans())
def test_devices_take_each_image_once_under_its_place_in_the_dataset(images, devices, size, shuffle):
    devices, dataset = min(devices, images), pairs(images)
    seen = []
    for rank in range(devices):
        sampler = DistributedSampler(dataset, devices, rank, shuffle)
        loader = DataLoader(dataset, size, sampler=sampler)
        taken = DeviceBatches(loader, rank, devices, [0.0], [1.0])
        own = [taken.take(batch, CLASSIFIER) for batch in loader]
        assert sum(len(batch.image) for batch in own) == taken.images
        for batch in own:
            assert torch.equal(batch.image, dataset.tensors[0][batch.sample])
            assert batch.label.tolist() == batch.sample.tolist() == batch.group.tolist()
            seen += batch.sample.tolist()
    assert sorted(seen) == list(range(images))


def test_batches_of_this_package_keep_their_numbers_and_lose_what_is_repeated():
    items = [Batch(torch.zeros(1, 2, 2), torch.tensor(0), torch.tensor(7 + n), torch.tensor(70 + n)) for n in range(3)]
    for rank, samples in ((0, [7, 9]), (1, [8])):
        loader = DataLoader(items, sampler=DistributedSampler(items, 2, rank, shuffle=False))
        got = [batch.sample.tolist() for batch in batches(loader, rank, 2)]
        assert [sample for own in got for sample in own] == samples
        assert len(got) == 2


def test_an_order_that_is_drawn_is_numbered_as_it_comes():
    torch.manual_seed(1)
    got = list(batches(DataLoader(pairs(6), 4, shuffle=True), rank=1, devices=2))
    assert [batch.sample.tolist() for batch in got] == [[1, 3, 5, 7], [9, 11]]
    assert sorted(label for batch in got for label in batch.label.tolist()) == list(range(6))


class Stream(IterableDataset):
    def __iter__(self):
        yield from (pairs(5)[number] for number in range(5))


def test_a_stream_without_a_length_is_taken_whole():
    assert [batch.sample.tolist() for batch in batches(DataLoader(Stream(), 3))] == [[0, 1, 2], [3, 4]]


def test_normalisation_is_undone_and_what_it_was_not_is_refused():
    mean, std, (image, label) = [0.5, 0.4, 0.3], [0.25, 0.2, 0.1], pairs(4).tensors
    normalised = (image - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    (batch,) = batches(DataLoader(TensorDataset(normalised, label), 4), mean=mean, std=std)
    torch.testing.assert_close(batch.image, image)
    assert 0 <= batch.image.min() <= batch.image.max() <= 1
    with pytest.raises(ValueError, match="If they are normalised, give mean and std"):
        next(batches(DataLoader(TensorDataset(normalised, label), 4)))


@pytest.mark.parametrize(
    "got", [torch.zeros(2, 3, 2, 2), {"image": torch.zeros(2, 3, 2, 2)}, [torch.zeros(2, 3, 2, 2)]]
)
def test_labels_that_a_batch_lacks_are_unknown(got):
    taken = DeviceBatches(DataLoader(pairs(4)), 0, 1, None, None)
    assert taken.take(got, CLASSIFIER).label.tolist() == [-1, -1]


def test_more_devices_than_images_are_refused_on_each_device():
    dataset = pairs(2)
    for rank in range(3):
        loader = DataLoader(dataset, sampler=DistributedSampler(dataset, 3, rank, shuffle=False))
        with pytest.raises(ValueError, match="at least as many as devices, got 2 for 3"):
            DeviceBatches(loader, rank, 3, [0.0], [1.0])
