"""Augmentation of training images: what it draws, what it may not do."""

import pytest
import torch
from torchvision.transforms import v2

from dovision.config.sources import configuration_folder
from dovision.datasets.digits import Digits
from dovision.training.augmentation import Augmentation
from dovision.training.data_module import ImageDataModule
from made_config import read

NAMES = sorted(path.stem for path in (configuration_folder() / "augmentation").glob("*.yaml"))
SHAPES = [(1, 28, 28), (3, 40, 56)]
SIDE = 160


def transform(name, shape=(1, SIDE, SIDE)):
    height_and_width = f"dataset.shape=[{shape[0]},{shape[1]},{shape[2]}]"
    return read(f"augmentation={name}", height_and_width, command="train").augmentation.make()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_augmentation_keeps_shape_type_and_range(name, shape):
    augment, image = Augmentation(transform(name, shape), 0), torch.rand(shape)
    for epoch in range(50):
        found = augment(image, epoch, 3)
        assert type(found) is torch.Tensor
        assert (found.shape, found.dtype) == (image.shape, image.dtype)
        assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize("name", sorted({*NAMES} - {"none"}))
def test_what_is_drawn_depends_on_seed_epoch_and_sample_alone(name):
    image, augment = torch.rand(1, SIDE, SIDE), Augmentation(transform(name), 0)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    due = [augment(image, epoch, 3) for epoch in range(8)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    assert all(torch.equal(found, augment(image, epoch, 3)) for epoch, found in enumerate(due))
    others = [
        [Augmentation(augment.transform, 1)(image, epoch, 3) for epoch in range(8)],
        [augment(image, epoch, 4) for epoch in range(8)],
        [due[(epoch + 1) % 8] for epoch in range(8)],
    ]
    for other in others:
        assert not all(torch.equal(one, two) for one, two in zip(due, other, strict=True))


def training_images(data, epoch):
    """Images of an epoch by sample."""
    loader = data.train_dataloader()
    loader.sampler.set_epoch(epoch)  # as Lightning does
    batches = list(loader)
    image, sample = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("image", "sample"))
    return image[sample.argsort()]


def test_only_training_images_are_augmented_and_alike_with_any_number_of_workers():
    images = Digits("multiclass", tuple(map(str, range(10))), (1, 32, 32), 0.2, 0.05, 0)
    augmentation = transform("affine_jitter", images.shape)
    data, read = (ImageDataModule(images, num_workers=workers, augmentation=augmentation) for workers in (0, 2))
    first, second = training_images(data, 0), training_images(data, 1)
    assert torch.equal(first, training_images(read, 0))
    assert torch.equal(second, training_images(read, 1))
    as_they_are = training_images(ImageDataModule(images), 0)
    assert all(
        (one != other).flatten(1).any(1).float().mean() > 0.99 for one, other in ((first, second), (first, as_they_are))
    )
    for split, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        found = torch.cat([batch.image for batch in loader])
        assert all(torch.equal(image, images.split(split)[sample].image) for sample, image in enumerate(found))


REFUSED = {
    "type and shape, torch.float32 of .* got torch.float32 of": v2.Resize([8, 8]),
    r"must keep images in \[0, 1\], got .* normalise inside the classifier": v2.Normalize([0.5], [0.5]),
    "type and shape, .* got torch.uint8": v2.ToDtype(torch.uint8, scale=True),
    "must be a transform of torchvision.transforms.v2, got the class ColorJitter itself": v2.ColorJitter,
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_would_change_the_range_or_the_size_is_refused_with_the_remedy(message):
    with pytest.raises(ValueError, match=f"^augmentation .*{message}"):
        Augmentation(REFUSED[message], 0)(torch.rand(1, 16, 16), 0, 0)


def test_rounding_of_an_interpolation_is_clamped():
    (found,) = Augmentation(lambda image: image * 1.0001, 0)(torch.ones(1, 4, 4), 0, 0)
    assert found.max() == 1
