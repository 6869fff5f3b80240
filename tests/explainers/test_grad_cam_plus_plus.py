"""Grad-CAM++ against the grad-cam package."""

from __future__ import annotations

import sys

import pytest
import torch

from dovision.explainers.class_activation_maps import GradCAMPlusPlus

TARGET = torch.tensor([2, 0, 1])


def test_the_map_is_the_grad_cam_packages_own_but_for_its_stretching(convolutional, images):
    package = pytest.importorskip("pytorch_grad_cam", reason="the extra cam is not installed")
    from pytorch_grad_cam.utils.image import scale_cam_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    classifier, batch = convolutional(), images(3, 3, 14, 14)
    with package.GradCAMPlusPlus(classifier, [classifier.network[3]]) as cam:
        expected = cam(batch.image, [ClassifierOutputTarget(wanted) for wanted in TARGET.tolist()])
    got = scale_cam_image(GradCAMPlusPlus("3")(batch, TARGET, classifier).numpy())
    assert expected.max() > 0
    torch.testing.assert_close(torch.from_numpy(got), torch.from_numpy(expected), rtol=0, atol=1e-5)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(ImportError, match=r"needs pytorch_grad_cam .* Install it: pip install 'dovision\[cam\]'"):
        GradCAMPlusPlus()
