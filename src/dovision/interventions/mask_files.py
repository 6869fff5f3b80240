"""Painting over masks that lie in files, one for each image: lungs, lesions, parts of animals."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dovision import checks
from dovision.functional import geometry
from dovision.interfaces import Images, Intervention
from dovision.interventions._masks import MaskIntervention
from dovision.interventions._objects import bound
from dovision.interventions.fills import Fill
from dovision.io.mask_files import ANY, ARRAYS, check_distinct, mask_file, mask_numbers, mask_pattern, read_mask_file
from dovision.types import COVER, INPUT, OUTSIDE, Mask, Shape

log = logging.getLogger(__name__)


class MaskFiles(MaskIntervention):
    """do(mask = fill) on masks from files: a label map as PNG, or an .npz with a bool array per mask.

    A mask lies on its image as it came: it is resized and cropped as the image is, without smoothing. Its resolution
    may be another one, its aspect may not; or it has the size to which the images are brought.

    Args:
        root: the folder of the files; None: the masks that the dataset has of its images.
        units: names of the masks; for PNG, the number that each has in the label maps, such as {lung: 255}.
            None is one mask, of all that is not 0, in an .npz the array "mask"; or all masks of the dataset.
        fill: what a mask is painted with.
        files: name of an image's file below `root`, of {stem}, {folder}, {name} and {slice} of the image: its file's
            name without the suffix, the folder that it is in, the whole name, and the number of a volume's slice.
        missing: error, or skip, by which images without a file, or without a pixel of any unit, have no units.
        outside: whether there is a unit OUTSIDE of all that is in no mask of an image; one without a mask has none.
        controls, seed, wrap: of control masks, see `MaskIntervention`.

    Raises:
        FileNotFoundError: the root is not a folder; once bound, an image has no file.
        ValueError: a file is damaged, has another aspect than its image, or no pixel of any unit.

    Example:
        >>> import tempfile
        >>> dv.MaskFiles(tempfile.mkdtemp(), {"left lung": 1, "right lung": 2}, dv.Mean()).units((1, 8, 8))
        ('left lung', 'right lung')
    """

    def __init__(
        self,
        root: str | None,
        units: Mapping[str, int] | Sequence[str] | None,
        fill: Fill,
        files: str = "{stem}.png",
        missing: str = "error",
        controls: int = 0,
        seed: int = 0,
        outside: bool = False,
        wrap: bool = False,
    ) -> None:
        super().__init__(fill, controls, seed, wrap)
        self.outside = OUTSIDE if outside else None
        self.files = mask_pattern(files)
        self.numbers = mask_numbers(units, root is None or self.files.lower().endswith(ARRAYS))
        self._masks_of: Callable[[int], Mapping[str, Mask]] | None = None  # masks of a sample, by the dataset
        self._all = units is None
        self.missing = checks.choice("missing", missing, ("error", "skip"))
        self.root = None if root is None else Path(root)
        self._paths: Sequence[Path] = ()
        self._aspects: Sequence[tuple[int, int]] = ()  # height and width of the images as they came
        self._shape: Shape = ()
        self._resize = COVER
        if self.root is not None and not self.root.is_dir():
            raise FileNotFoundError(
                f"root must be a folder of masks, but {self.root} is not one. Set intervention.root."
            )

    def bind(self, images: Images, split: str) -> None:
        """Find the mask file of each image of a split, and read the first one; see also `check_files`.

        Raises:
            FileNotFoundError: an image has none, and `missing` is error.
            ValueError: as of the class.
        """
        super().bind(images, split)
        self._shape, self._resize = images.shape, images.resize
        if self.root is None:
            self._bind_to_masks(images, split)
            return
        table = images.table(split)
        self._paths = [self.root / mask_file(self.files, name) for name in table["name"]]
        if "height" not in table:
            table = table.assign(height=images.shape[1], width=images.shape[2])
        self._aspects = [*table[["height", "width"]].itertuples(index=False, name=None)]
        lacking = [str(path) for path in self._paths if not path.is_file()]
        skip = ", or leave these images without units with intervention.missing=skip"
        if lacking and (self.missing == "error" or len(lacking) == len(self._paths)):
            raise FileNotFoundError(
                f"each image must have a file of masks, but {len(lacking)} of {len(self._paths)} have none:"
                f"{checks.bullet_lines(lacking)}\nSee intervention.files"
                f"{skip if self.missing == 'error' else ''}."
            )
        there = [sample for sample, path in enumerate(self._paths) if path.is_file()]
        names = [table["name"].iloc[sample] for sample in there]
        check_distinct(self.files, names, [self._paths[sample] for sample in there])
        try:
            empty = not any(mask.any() for sample in there for mask in self._masks_in_file(sample).values())
        except ValueError:
            self.check_files(there)
            raise
        if empty:
            raise ValueError(
                f"masks must have a pixel of {' or '.join(self.numbers)} in some file, but all {len(there)} are empty, "
                f"such as {self._paths[there[0]]}. Set intervention.units."
            )

    def check_files(self, samples: Sequence[int]) -> None:
        """Read the masks of samples, log how many have none, and raise one ValueError for all invalid files."""
        wrong, bare = [], 0
        for sample in samples:
            try:
                bare += not self._placed(self._shape, sample)
            except ValueError as error:
                wrong.append(str(error))
        checks.none_wrong("files of masks", wrong, len(samples))
        if bare:
            log.warning("%d of %d images have no mask, and so no unit", bare, len(samples))

    def names(self) -> tuple[str, ...]:
        names = bound(tuple(self.numbers) if self.root is not None or self._masks_of is not None else ())
        return (*names, *([] if self.outside is None else [self.outside]))

    def masks(self, sample: int) -> Mapping[str, Mask]:
        masks = self._masks_in_file(sample) if self.root is not None else bound(self._masks_of)(sample)
        if self.outside is None or not any(mask.any() for mask in masks.values()):
            return masks
        return {**masks, self.outside: ~np.any([*masks.values()], axis=0)}

    def _bind_to_masks(self, images: Images, split: str) -> None:
        """Use the dataset's own masks."""
        if not images.mask_names:
            raise ValueError(
                "root must be a folder of masks for a dataset without masks of its own, got None. Set "
                "intervention.root, or dataset.masks.folder."
            )
        if self._all:
            self.numbers = dict.fromkeys(images.mask_names, ANY)
        chosen = [checks.choice("units", name, images.mask_names) for name in self.numbers]

        def masks_of(sample: int) -> Mapping[str, Mask]:
            masks = images.masks(split, sample)
            return {name: masks[name] for name in chosen if name in masks}

        self._masks_of = masks_of

    def _masks_in_file(self, sample: int) -> Mapping[str, Mask]:
        path = bound(self._paths)[sample]
        if not path.is_file():
            return {}
        masks = read_mask_file(path, self.numbers)
        if self.missing == "error" and not any(mask.any() for mask in masks.values()):
            raise ValueError(
                f"masks must have a pixel of {' or '.join(self.numbers)}, got an empty file: {path}. Leave such images "
                "without units with intervention.missing=skip."
            )
        return {name: self._fitted(mask, self._aspects[sample], path) for name, mask in masks.items()}

    def _fitted(self, mask: Mask, size: tuple[int, int], path: Path) -> Mask:
        """Fit a mask to the dataset's image, shape (H, W), from the size of the image's file."""
        if not geometry.mask_fits(mask.shape, size, self._shape):
            raise ValueError(
                f"a mask must have the aspect of its image, {size[0]} x {size[1]} pixels, got "
                f"{mask.shape[0]} x {mask.shape[1]} in {path}."
            )
        return geometry.fit_mask(mask, size, self._shape, self._resize)


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
