"""Score-CAM against the grad-cam package, and how much it holds at a time."""

from __future__ import annotations

import pytest
import torch

from dovision.explainers.class_activation_maps import ScoreCAM

TARGET = torch.tensor([2, 0, 1])


@pytest.mark.parametrize("layer", ["2", "3"])
def test_the_map_is_the_grad_cam_packages_own_but_for_its_stretching(layer, convolutional, images):
    package = pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    from pytorch_grad_cam.utils.image import scale_cam_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    classifier, batch = convolutional(), images(3, 3, 14, 14)
    with package.ScoreCAM(classifier, [classifier.network.get_submodule(layer)]) as cam:
        expected = cam(batch.image, [ClassifierOutputTarget(wanted) for wanted in TARGET.tolist()])
    got = scale_cam_image(ScoreCAM(layer)(batch, TARGET, classifier).numpy())
    torch.testing.assert_close(torch.from_numpy(got), torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_masked_images_are_run_in_batches_and_the_map_does_not_depend_on_their_size(convolutional, images):
    classifier, batch = convolutional(), images(2, 3, 14, 14)
    expected = ScoreCAM("3")(batch, TARGET[:2], classifier)
    seen: list[int] = []
    classifier.network[0].register_forward_hook(lambda module, args, output: seen.append(len(output)))
    torch.testing.assert_close(ScoreCAM("3", batch_size=2)(batch, TARGET[:2], classifier), expected)
    assert seen == [2, *(2, 2, 1), *(2, 2, 1)]  # the images, and the five channels of each
