"""Detection of attacks: detectors fitted on validation images and scored on test images, as the commands do."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from dovision import checks
from dovision.datasets.as_images import check_shapes
from dovision.interfaces import Attack, Classifier, Detector, Images
from dovision.measurement.by_name import Named, named_components
from dovision.measurement.detection import Detection, DetectionOptions
from dovision.notebook.image_data import ImageData, as_images, is_data_module
from dovision.notebook.measuring import ResultFolder, attacks_by_name, check_components, run_callbacks
from dovision.notebook.results import MeasuredImages
from dovision.notebook.running import Running
from dovision.results.detection_findings import detection_findings
from dovision.results.detection_summary import headlines, read_detection
from dovision.results.detection_tables import ATTACKS, TEST, VAL, read_scores
from dovision.results.display_names import component_name
from dovision.results.finding import Finding
from dovision.results.run_record import Run
from dovision.results.tables import read_table
from dovision.types import Epsilons

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class DetectedAttacks(MeasuredImages):
    """Scores of detectors on clean and attacked images, and their detection metrics.

    Args:
        run, folder: as of `MeasuredImages`.
        record: costs of detectors and attacks, and attacks that failed.

    Example:
        >>> import torch, dovision as dv
        >>> classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), ["a", "b", "c"])
        >>> val, test = torch.rand(40, 1, 8, 8), torch.rand(40, 1, 8, 8)
        >>> result = dv.detect(classifier, (val, test), ["max_softmax", "entropy"], "fgsm", eps=0.1)
        >>> result.to_pandas()["detector"].unique().tolist()
        ['max_softmax', 'entropy']
        >>> result.scores("entropy").columns.tolist()[:4]
        ['sample', 'split', 'group', 'attack']
    """

    columns = (
        *("detector", "fitted_on", "attack", "eps"),
        *("auroc", "auroc_low", "auroc_high", "auroc_reason", "successful"),
    )
    drawing = ("detection",)

    def __init__(self, run: Run, folder: ResultFolder, record: Mapping[str, Any]) -> None:
        super().__init__(run, folder)
        self.record = dict(record)

    def _findings(self) -> Iterable[Finding]:
        return detection_findings(self.run)

    @property
    def samples(self) -> pd.DataFrame:
        """Table attacks.parquet: a row per (split, sample, attack, eps) with correctness, success and norms."""
        return read_table(self.folder / ATTACKS).to_pandas()

    def scores(self, detector: str) -> pd.DataFrame:
        """Table scores.parquet: a row per image and condition; scores are higher for attacked images.

        Args:
            detector: its name.

        Raises:
            ValueError: there is no such detector.
        """
        names = self.to_pandas()["detector"].unique()
        return read_scores(self.folder, checks.choice("detector", detector, names))

    def to_pandas(self) -> pd.DataFrame:
        """A row per (detector, variant, fitted_on, attack, eps, family): auroc, tpr_1, tpr_5, ..., with intervals.

        Columns are those of `analysis.detection_summary.detection`.
        """
        return read_detection(self.folder)

    def headlines(self) -> pd.DataFrame:
        """Rows that a summary reports: unseen families, the worst case, noise."""
        return headlines(self.to_pandas())

    def _figure(self) -> Figure | None:
        drawn = {report_figure.name: report_figure.figure for report_figure in self._drawn()}
        return drawn.get("detection_curves", next(iter(drawn.values()), None))

    def _rows(self) -> pd.DataFrame:
        return self.headlines()

    def _title(self) -> str:
        detectors = self.to_pandas()["detector"].unique()
        attacks = ", ".join(map(component_name, self.record["condition_queries"]))
        return f"detectors: {', '.join(map(component_name, detectors))}; attacks: {attacks}"

    def _counts(self) -> dict[str, object]:
        detectors = self.to_pandas()["detector"].nunique()
        return {"detectors": detectors, "attacks": len(self.record["condition_queries"])}


def detect(
    classifier: Classifier,
    data: Any,
    detectors: Named[Detector],
    attacks: Named[Attack],
    eps: Epsilons | None = None,
    reference: str | None = None,
    folder: Path | str | None = None,
    *,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
    seed: int = 0,
) -> DetectedAttacks:
    """Fit detectors on clean and attacked validation images, and score test images, with intervals.

    The numbers are those of `dovision-evaluate` with `detector=[...]`, made by its callback and its tables: two thirds
    of the validation images are for fits, one third for thresholds; supervised detectors are fitted to each family of
    attacks, to all, and to all but each.

    Args:
        classifier: of images in [0, 1]; see `wrap` for a plain torch module.
        data: a dataset of dovision, a DatasetDict or a LightningDataModule, of which the splits val and test are taken,
            or a pair of validation and test images, each as `ImageData` takes them.
        detectors: names in `conf/detector`, detectors such as MaxSoftmax(), a list of these, or a mapping from names.
        attacks: likewise, of `conf/attack`; random_sign is the noise control.
        eps: of attacks given by name: one or several, in pixel units, numbers or fractions such as "8/255".
        reference: the detector that the others are compared with, by name; None: no comparison.
        folder: where the tables go; None: a temporary folder, which goes with the result.
        batch_size, device, progress: as of `effects`.
        seed: of what a detector or an attack draws that is given by name.

    Returns:
        Scores, AUROC and rates with intervals, and figures.

    Raises:
        ValueError: an argument is not what it must be; there are too few images for a fit; no attack runs; a detector
            reads the code of an autoencoder, of which there is none here.

    Example:
        >>> import torch, dovision as dv
        >>> classifier = dv.wrap(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3)), ["a", "b", "c"])
        >>> pair = torch.rand(40, 1, 8, 8), torch.rand(40, 1, 8, 8)
        >>> dv.detect(classifier, pair, "max_softmax", ["fgsm", "random_sign"], eps="8/255")
        DetectedAttacks(detectors=1, attacks=2)
    """
    val, test = _splits(data, classifier, batch_size)
    made: dict[str, Detector] = named_components("detector", detectors, seed)
    attacking = attacks_by_name(attacks, eps, seed)
    if not all(attack.eps for attack in attacking.values()):
        raise ValueError("attacks must have an epsilon, got none. Name attacks, such as 'pgd'.")
    if reading := [name for name, detector in made.items() if detector.reads_code]:
        raise ValueError(f"detectors must read the classifier alone, got {', '.join(reading)}, which reads a code.")
    check_components(classifier, test.shape(classifier), *made.values(), *attacking.values())
    written = ResultFolder(folder)
    options = DetectionOptions(reference=reference)
    callback = Detection(written.path, attacking, made, classifier, mean=test.mean, std=test.std, options=options)
    loaders = [val.loader(classifier), test.loader(classifier)]
    run_callbacks(classifier, [callback], loaders, Running(device, progress))
    fitted, tested = (batches.contents.keys() for batches in callback.batches)
    if both := len(fitted & tested):
        text = f"{both} of {len(tested)} test images are validation images: detectors are scored on what set them."
        warnings.warn(text, stacklevel=2)
    run = Run(written.path, written.path.name, "completed", callback.record, {}, {})
    return DetectedAttacks(run, written, callback.record)


def _splits(data: Any, classifier: Classifier, batch_size: int | None) -> tuple[ImageData, ImageData]:
    if isinstance(data, (Images, Mapping)) or is_data_module(data):
        val, test = (ImageData(data, split=split, batch_size=batch_size or 64).of(classifier) for split in (VAL, TEST))
        return val, test
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        got = type(data).__name__
        raise ValueError(f"data must be a dataset of dovision, or a pair of validation and test images, got {got}.")
    val, test = data
    if isinstance(val, Tensor) and isinstance(test, Tensor) and val.ndim == 4 and test.ndim < 3:
        raise ValueError(
            "data must be a pair of validation and test images, got images and labels. Give each split as such a pair: "
            "((images, labels), (images, labels))."
        )
    val, test = as_images(val, classifier, batch_size), as_images(test, classifier, batch_size)
    if (val.mean, val.std) != (test.mean, test.std):
        raise ValueError(f"data must be normalised by one mean and std, got {val.mean} and {test.mean}.")
    check_shapes(shape for split in (val, test) if (shape := split.shape(classifier)) is not None)
    return val, test
