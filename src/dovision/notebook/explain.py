"""Maps of explainers over whole data sets, judged as dovision-evaluate judges them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import Tensor

from dovision import checks
from dovision.attacks.none import NoAttack
from dovision.interfaces import Classifier, Explainer, Images, Intervention
from dovision.measurement.adapters import StoredMaps
from dovision.measurement.by_name import Named, named_components, one_component
from dovision.measurement.explanation_config import TARGETS, MapSettings
from dovision.measurement.maps import MapEvaluation, MapOptions
from dovision.notebook.image_data import ImageData, as_images
from dovision.notebook.measuring import WHOLE_IMAGE, ResultFolder, check_components, measured_run
from dovision.notebook.results import MeasuredImages
from dovision.notebook.running import Running
from dovision.results.display_names import component_name
from dovision.results.explanation_metrics import agreements
from dovision.results.finding import Finding
from dovision.results.map_findings import map_findings
from dovision.results.run_record import Run
from dovision.types import Batch, Task

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CELLS = 16  # cells a side of the grid on which maps are compared, of images that are not smaller


class FullMaps(MapEvaluation):
    """Callback that evaluates maps of `data` and also keeps them at image size; other arguments as of the base."""

    def __init__(
        self,
        folder: Path,
        explainers: Mapping[str, Explainer],
        settings: MapSettings,
        classifier: Classifier,
        data: ImageData,
    ) -> None:
        options = MapOptions(boxes=data.boxes())
        super().__init__(explainers, folder, settings, classifier, mean=data.mean, std=data.std, options=options)
        self.maps: defaultdict[str, list[Tensor]] = defaultdict(list)
        self.explained: list[tuple[Tensor, Tensor, Tensor]] = []

    def see(self, name: str, batch: Batch, target: Tensor, maps: Tensor) -> None:
        if name == next(iter(self.explainers)):
            self.explained.append((batch.image.cpu(), batch.sample, target))
        self.maps[name].append(maps.cpu())


class ExplainedImages(MeasuredImages):
    """Maps of explainers, and their metrics.

    Args:
        run, folder: as of `MeasuredImages`.
        callback: what has drawn the maps.
        task: the classes.
        with_effects: effects of units were asked for, beside the maps.

    Example:
        >>> import torch, dovision as dv
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...                               torch.nn.Linear(144, 2))
        >>> classifier = dv.wrap(network, ["dark", "bright"])
        >>> result = dv.explain(classifier, torch.rand(6, 1, 8, 8), ["integrated_gradients", "random_map"])
        >>> result.maps["random_map"].shape
        torch.Size([6, 8, 8])
        >>> result.scores.columns.tolist()[:5]
        ['explainer', 'metric', 'cases', 'label', 'mean']
    """

    columns = ("explainer", "metric", "mean", "low", "high", "scored")

    def __init__(
        self, run: Run, folder: ResultFolder, callback: FullMaps, task: Task, with_effects: bool = True
    ) -> None:
        super().__init__(run, folder)
        self.drawing = () if with_effects else ("results", "overlay", "maps")
        self.task = task
        columns: list[list[Tensor]] = [list(column) for column in zip(*callback.explained, strict=True)]
        self.image, self.sample, self.target = map(torch.cat, columns)
        self.maps = {name: torch.cat(batches) for name, batches in callback.maps.items()}

    @property
    def pairs(self) -> pd.DataFrame:
        """Sample and class of each map, in the order of `maps`, `image` and `target`."""
        classes = [self.task.classes[number] for number in self.target.tolist()]
        return pd.DataFrame({"sample": self.sample.tolist(), "class": classes})

    @property
    def scores(self) -> pd.DataFrame:
        """Mean metrics per explainer with low and high, and paired differences from the reference.

        Columns explainer, metric, cases, label, mean, low, high, ..., difference, p, p_holm: those of
        `analysis.map_summary.scores`.
        """
        return pd.DataFrame(self.summary["maps"])

    def _findings(self) -> Iterable[Finding]:
        return map_findings(self.run) if self.drawing else super()._findings()

    def to_pandas(self) -> pd.DataFrame:
        """A row per (sample, class, explainer): pointing, energy, iou, deletion, insertion, true_effects, stability."""
        return agreements(self.folder)

    def plot(self, name: str | None = None, most: int = 4) -> Figure:
        """Plot the first images under each explainer's map, or draw a figure of the page.

        Args:
            name: one of `figures`, or of an explainer; None: the maps of the first explainer.
            most: images side by side.

        Raises:
            ValueError: there is no such figure and no such explainer.
        """
        from dovision.notebook.drawing import maps_over_images

        explainer = next(iter(self.maps)) if name is None else name
        if explainer not in self.maps:
            return super().plot(name)
        size = self.maps[explainer][:most].abs().amax((1, 2), keepdim=True).clamp_min(1e-12)
        titles = [f"{component_name(explainer)}: {label}" for label in self.pairs["class"][:most]]
        return maps_over_images(self.image[:most], self.maps[explainer][:most] / size, titles, "relative evidence")

    def _figure(self) -> Figure:
        return self.plot()

    def _rows(self) -> pd.DataFrame:
        return self.scores[self.scores["cases"] == "all"].dropna(subset="mean")

    def _title(self) -> str:
        return f"{len(self.target):,} maps each of {', '.join(map(component_name, self.maps))}"

    def _counts(self) -> dict[str, object]:
        return {"maps": len(self.target), "explainers": list(self.maps)}


def explain(
    classifier: Classifier,
    data: Any,
    explainers: Named[Explainer] = "effect_map",
    target: int | str | Sequence[int | str] | Tensor | None = None,
    intervention: Intervention | str | None = None,
    settings: MapSettings | None = None,
    folder: Path | str | None = None,
    *,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
    seed: int = 0,
) -> ExplainedImages:
    """Compute maps of explainers over a data set, with metrics, intervals and paired differences.

    The numbers are those of `dovision-evaluate` with `explainer=[...]`, made by its callback and its tables.

    Args:
        classifier: of images in [0, 1]; see `wrap` for a plain torch module.
        data: images, see `ImageData`; maps, images and all are held in memory.
        explainers: names in `conf/explainer`, explainers such as GradCAM(), a list of these, or a mapping from names.
        target: the name or number of the class that is explained, or one for each image in a list or an array; "label"
            (each that the image has) or "prediction"; None: "prediction".
        intervention: of which effects are measured as well, such as "counterfactual" of a dataset with known objects,
            so that maps are held against true effects; None: the whole image, painted black, alone.
        settings: of the common grid and of the tests, in place of target; None: those of the commands, on as many cells
            as the images allow.
        folder: where tables and pictures go; None: a temporary folder, which goes with the result.
        batch_size, device, progress: as of `effects`.
        seed: of what an explainer or an intervention draws that is given by name.

    Returns:
        The maps, their scores, sentences and figures.

    Raises:
        ValueError: an argument is not what it must be; there is no such explainer or class; target comes beside
            settings; the explainer does not fit the network.

    Example:
        >>> import torch, dovision as dv
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(),
        ...                               torch.nn.Linear(144, 2))
        >>> classifier = dv.wrap(network, ["dark", "bright"])
        >>> dv.explain(classifier, torch.rand(4, 1, 8, 8), [dv.IntegratedGradients()], target="bright")
        ExplainedImages(maps=4, explainers=['integrated_gradients'])
    """
    images, task = as_images(data, classifier, batch_size), classifier.task
    made: dict[str, Explainer] = named_components("explainer", explainers, seed)
    shape = images.shape(classifier)
    chosen = _settings(settings, target, images, task, shape)
    for name, explainer in made.items():
        samples = images.samples() or ()  # of a loader that shuffles none is known
        if isinstance(explainer, StoredMaps) and len(samples) != len(explainer.maps):
            count = f"{len(samples)} images" if samples else "the images in a known order"
            raise ValueError(f"{name} must have a map for each of {count}, got {len(explainer.maps)}.")
    painted = WHOLE_IMAGE if intervention is None else one_component("intervention", intervention, seed)
    if isinstance(images.images, Images):
        for explainer in made.values():
            explainer.bind(images.images, images.split)
    check_components(classifier, shape, *made.values(), chosen)
    written, running = ResultFolder(folder), Running(device, progress)
    maps = FullMaps(written.path, made, chosen, classifier, images)
    run = measured_run(classifier, images, painted, NoAttack(), written, running, maps=maps)
    if not maps.explained:
        raise ValueError("target must be a class of some image, got none to explain. Choose another target.")
    return ExplainedImages(run, written, maps, task, with_effects=intervention is not None)


def _settings(
    settings: MapSettings | None, target: Any, images: ImageData, task: Task, shape: tuple[int, ...] | None
) -> MapSettings:
    if settings is not None:
        if target is not None:
            raise ValueError(f"target must be given once, got {target!r} beside settings. Set it in settings.")
        return checks.instance("settings", settings, MapSettings, "a MapSettings")
    is_name = target is None or (isinstance(target, str) and target in TARGETS)
    explained = target or "prediction" if is_name else images.targets(target, task)
    return MapSettings(explained, cells=CELLS if shape is None else min(CELLS, *shape[1:]))
