"""Figure of latents of a dictionary: the saved images on which each is most active, and where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dovision.analysis.average_effect import average_effects
from dovision.analysis.object_units import latent_places
from dovision.findings.number_text import bracketed
from dovision.report.image_overlay import EVIDENCE, PANEL, draw_overlay
from dovision.report.report_figure import FigureComponent, ReportFigure, caption, span
from dovision.report.style import SMALL, canvas, panels_across, styled
from dovision.store.activity import ACTIVITY
from dovision.store.map_tables import known_boxes
from dovision.store.run_record import Run
from dovision.store.tables import CLEAN
from dovision.store.thumbnails import Picture, load_thumbnail, samples_in_conditions, thumbnail_path


@dataclass
class Latents(FigureComponent):
    """Figures of latents with the largest average effects; none without latents or saved images."""

    most: int  # latents that are drawn
    images: int  # for each of them

    def of_run(self, run: Run) -> Iterator[ReportFigure]:
        if not (run.folder / ACTIVITY).is_file():
            return
        activity = ACTIVITY.read(run.folder)
        pictured = samples_in_conditions(run.folder, [CLEAN])
        frame = self._top_images(run, activity[activity["sample"].isin(pictured)])
        if len(frame):
            pictures = {sample: load_thumbnail(thumbnail_path(run.folder, sample, CLEAN)) for sample in frame["sample"]}
            text = (
                "The latents with the largest average effects, and for each the saved images on which it is most "
                "active, with its map over the image (its largest value there is the brightest). Beside it the effect "
                "on the class on which it is largest, averaged over all clean images."
            )
            words = caption(text, [run], f"n = {len(pictured)} saved images; single images, so no interval.")
            data = frame.drop(columns=["map", "rows", "columns"])
            yield ReportFigure("latents", "Images and maps of latents", words, latent_images(frame, pictures), data)
        if len(known_boxes(run.folder)):
            yield from _places(run)

    def _top_images(self, run: Run, activity: pd.DataFrame) -> pd.DataFrame:
        """Activity rows of the drawn latents with their average effects, each on one class, largest first."""
        averages = average_effects(run.folder)
        clean = averages.loc[averages["condition"] == CLEAN, ["unit", "class", "mean"]].dropna()
        clean = clean.rename(columns={"mean": "effect"}).sort_values("effect", key=abs, ascending=False, kind="stable")
        effects = clean.drop_duplicates("unit").set_index("unit")
        largest = effects[effects.index.isin(activity["unit"])].head(self.most)
        chosen = activity[activity["unit"].isin(largest.index)].join(largest, on="unit")
        chosen = chosen.assign(place=chosen["unit"].map(list(largest.index).index))
        chosen = chosen.sort_values(["place", "largest", "sample"], ascending=[True, False, True])
        most = min(self.images, panels_across(PANEL, margin=0.8))
        return chosen.groupby("place", sort=False).head(most).drop(columns="place")


def _places(run: Run) -> Iterator[ReportFigure]:
    frame = latent_places(run.folder, tuple(run.config["dataset"]["shape"]))
    if frame.empty:
        return
    table = pd.DataFrame(
        {
            "latent": frame["unit"].tolist(),
            "AUROC of its activity": bracketed(frame, "auroc"),
            "points to it": bracketed(frame, "pointing"),
            "area": frame["area"].map("{:.3f}".format).tolist(),
            "images": [f"{present} of {present + absent}" for present, absent in frame[["images", "others"]].values],
        },
        index=pd.Index(frame["kind"], name="object"),
    )
    text = (
        "For each kind of object the latent whose largest activity separates images with it best from all others, "
        "chosen on a random half of the patients; the numbers are of the others. Points to it: the share of images "
        "with the object in which the most active position touches its box; area: the share of positions that do."
    )
    counted = f"n = {span(frame['images'] + frame['others'])} images, those of half of the patients."
    words = caption(text, [run], counted, "Brackets: 95% intervals over groups.")
    yield ReportFigure.of_table("latent_places", "Latents and objects", words, frame, table)


@styled
def latent_images(frame: pd.DataFrame, pictures: Mapping[int, Picture]) -> Figure:
    """Draw a row per latent: images where it is active, under its activity map.

    Args:
        frame: a row per latent and image: unit, class, effect (its average), sample, largest, and map, of rows x
            columns positions.
        pictures: the image of each sample, shape (H, W) or (H, W, 3), 8 bits.
    """
    units = frame.groupby("unit", sort=False)
    most = int(units.size().max())
    figure = canvas(0.8 + 1.1 * most, 0.3 + 1.25 * len(units), pictures=True)
    axes = figure.subplots(len(units), most, squeeze=False)
    for row, (unit, of_unit) in enumerate(units):
        for column, panel in enumerate(axes[row]):
            if column >= len(of_unit):
                panel.set_axis_off()
        for panel, image in zip(axes[row], of_unit.itertuples(), strict=False):
            activity = np.asarray(image.map, np.float32).reshape(image.rows, image.columns)
            picture, most_active = pictures[image.sample], max(float(activity.max()), 1e-12)
            draw_overlay(panel, picture, activity.astype(float), most_active, EVIDENCE, shape=picture.shape)
            panel.set_xlabel(f"image {image.sample}: {image.largest:.2f}", fontsize=SMALL)
        first = of_unit.iloc[0]
        axes[row, 0].set_ylabel(f"{unit}\n{first['class']}: {first['effect']:+.3f}", fontsize=SMALL)
    return figure
