"""Network with images to show it, as dovision-view opens it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dovision.identity.dependencies import AUTOENCODER, CLASSIFIER
from dovision.interfaces import Classifier, Images
from dovision.propagation.site_table import SiteRow, site_shapes, site_table
from dovision.training.model_cache import FittedModel
from dovision.types import CODE, INPUT, Shape


@dataclass(frozen=True)
class OpenedNetwork:
    """Classifier, images to show it, and their settings."""

    title: str
    settings: Any  # of a command
    images: Images
    split: str
    fitted: Mapping[str, FittedModel] = field(repr=False)  # classifier and perhaps autoencoder

    @property
    def classifier(self) -> Classifier:
        return self.fitted[CLASSIFIER].classifier

    @property
    def shape(self) -> Shape:
        """(C, H, W) of the images."""
        return tuple(self.images.shape)

    @property
    def checkpoint(self) -> Path | None:
        """File of a fitted or given classifier; None for published weights."""
        has_file = self.settings.checkpoint is not None or self.settings.fits_classifier
        return self.fitted[CLASSIFIER].path if has_file else None

    def with_site(self, name: str) -> Classifier:
        """Classifier that has a site: with its autoencoder for the code.

        Raises:
            ValueError: it is the code, and there is no autoencoder.
        """
        if name != CODE:
            return self.classifier
        if AUTOENCODER not in self.fitted:
            raise ValueError("latents need an autoencoder, got none. Start with autoencoder=conv_1x1, or open a run.")
        return self.fitted[AUTOENCODER].classifier

    def sites(self) -> dict[str, Shape]:
        """Sites inside the network with value shapes, found without running it."""
        coded = site_shapes(self.with_site(CODE), self.shape) if AUTOENCODER in self.fitted else {}
        code = {CODE: coded[CODE]} if CODE in coded else {}
        shapes = site_shapes(self.classifier, self.shape)
        return code | {name: shape for name, shape in shapes.items() if name != INPUT}

    def site(self, name: str) -> SiteRow:
        """Layout and units of a site.

        Raises:
            ValueError: there is no such site, or nothing shows its layout.
        """
        rows = site_table(self.with_site(name), self.shape, [name])
        if not rows:
            raise ValueError(f"the network has no site {name!r}.")
        if rows[0].layout == "unknown":
            raise ValueError(f"the layout of {name!r} is not known: its shape is {rows[0].shape}, {rows[0].units}.")
        return rows[0]
