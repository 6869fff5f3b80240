"""Checks of a job's images and units."""

from __future__ import annotations

from collections.abc import Sequence

from dovision.interfaces import Images, Intervention
from dovision.interventions.mask_files import MaskFiles
from dovision.types import INPUT


def check_units(intervention: Intervention, images: Images, samples: Sequence[int]) -> None:
    """Raise for invalid mask files, and if no image has a unit of an intervention on the image."""
    first = getattr(intervention, "first", intervention)
    if isinstance(first, MaskFiles):
        first.check_files(samples)
    if intervention.site != INPUT or type(intervention).bind is Intervention.bind:
        return
    units = range(len(intervention.units(images.shape)))
    checked, where = intervention.checked_box, intervention.region
    regions = (checked(where, images.shape, unit, sample) for sample in samples for unit in units)
    if all(region is not None and not region.area for region in regions):
        raise ValueError(
            f"an image must have a unit of the intervention, such as a mask or a box, but none of the {len(samples):,} "
            "that are evaluated has one. Evaluate more (evaluation.images), or those with boxes "
            "(evaluation.only_with_boxes=true)."
        )
