"""Requirements between parts of a configuration, asked of configurations that lack it and of those that do not."""

import pytest
from omegaconf import OmegaConf

from dovision.config import requirements

WHOLE = OmegaConf.create(
    {
        "autoencoder": {"after": "relu1"},
        "detection": {"attacks": {"pgd": {"steps": 3}}},
        "trainer": {"inference_mode": False},
    }
)
WITHOUT = OmegaConf.create({"autoencoder": None, "detection": {"attacks": {}}, "trainer": {"inference_mode": True}})


@pytest.mark.parametrize(
    ("need", "message"),
    [
        (requirements.need_autoencoder, r"needs an autoencoder, got none\. Choose one: autoencoder=conv_1x1\."),
        (requirements.need_attacks, r"needs attacks, got none\. Add some: \+attack@detection\.attacks\.pgd=pgd\."),
        (requirements.need_gradients, r"trainer\.inference_mode must be false"),
    ],
)
def test_what_is_needed_and_lacking_is_named_with_its_remedy(need, message):
    need(WHOLE)
    with pytest.raises(ValueError, match=message):
        need(WITHOUT)
