"""Verdicts of refuters on tables whose answer is known, and on networks that read content, edges or one fill."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import dovision as dv
from dovision.functional.intervals import mean_interval
from dovision.results.effect_findings import verdict
from dovision.results.headline_effects import subjects
from dovision.results.image_tables import OTHER_FILL, PLACEBO, RANDOM_WEIGHTS, REFUTERS_FILE, UNALTERED
from dovision.results.mask_effects import mask_contrasts
from dovision.results.object_effects import contrasts
from dovision.results.refuters import NOT_SHOWN, refutations
from dovision.results.run_record import Run
from dovision.results.tables import write_table

IMAGES = 40


def written(folder: Path, images: int = IMAGES, level: float = 0.95, **means: float) -> pd.DataFrame:
    """Verdicts of effects with these means by refuter (blanks as _), each of standard deviation 1 over images."""
    random, rows = np.random.default_rng(0), []
    for name, mean in means.items():
        values = random.normal(size=images)
        for sample, value in enumerate((values - values.mean()) / values.std() + mean):
            key = {"sample": sample, "group": sample, "headline": "zone_effect", "refuter": name.replace("_", " ")}
            unit = {"subject": "r0c0", "unit": "r0c0", "class": "cat", "level": level}
            rows.append({**key, **unit, "effect": 0.0, "log_odds_effect": value})
    write_table(folder / REFUTERS_FILE, REFUTERS_FILE.schema(), [REFUTERS_FILE.from_frame(pd.DataFrame(rows))])
    return refutations(folder).set_index("refuter")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("refuter", "mean", "passed"),
    [
        (PLACEBO, 0.0, True),  # nothing happens elsewhere
        (PLACEBO, 0.5, True),
        (PLACEBO, 1.4, False),  # not shown to be less than half
        (PLACEBO, 3.0, False),  # as much happens elsewhere
        (PLACEBO, -2.0, False),  # much of the opposite happens elsewhere
        (OTHER_FILL, 1.0, True),
        (OTHER_FILL, 0.0, False),
        (OTHER_FILL, -3.0, False),
    ],
)
def test_a_refuter_passes_by_its_rule(refuter, mean, passed, sign, tmp_path):
    found = written(tmp_path, **{UNALTERED.replace(" ", "_"): 3.0 * sign, refuter.replace(" ", "_"): mean * sign})
    assert found.loc[UNALTERED, "passed"]
    assert found.loc[refuter, "passed"] == passed


def test_numbers_are_those_of_the_effect_with_the_refuter_at_the_level_of_the_headline(tmp_path):
    found = written(tmp_path, level=0.999, as_it_is=3.0, placebo_region=0.75).loc[PLACEBO]
    rows = REFUTERS_FILE.read(tmp_path).pivot(index="sample", columns="refuter", values="log_odds_effect")
    expected = mean_interval(rows[PLACEBO].to_numpy(float), np.arange(IMAGES), level=0.999)
    assert found[["estimate", "low", "high"]].tolist() == pytest.approx(expected[:3], abs=1e-6)
    assert found["share"] == pytest.approx(0.25, abs=1e-6)


def test_a_headline_that_is_not_shown_is_not_refuted(tmp_path):
    found = written(tmp_path, as_it_is=0.0, placebo_region=0.0)
    assert not found.loc[UNALTERED, "passed"]
    assert found.loc[PLACEBO, ["passed", "reason"]].tolist() == [None, NOT_SHOWN]


def test_the_text_names_what_a_headline_fails(tmp_path):
    written(tmp_path, as_it_is=3.0, placebo_region=3.0, random_weights=0.0)
    run = Run(tmp_path, "", "completed", {}, {}, {"refutations": refutations(tmp_path).to_dict("records")})
    assert verdict(run, "zone_effect", "r0c1", "cat") == (False, "")
    fails, text = verdict(run, "zone_effect", "r0c0", "cat")
    assert fails
    assert text.startswith("placebo region failed (")
    assert "random weights not decided" in text


class Corner(nn.Module):
    """Logits (0, w * the sum of the upper left quarter)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, image):
        read = image[:, 0, :4, :4].sum((1, 2))
        return torch.stack([torch.zeros_like(read), self.weight * read], 1)


def test_a_network_that_reads_content_passes_what_content_passes():
    images = torch.rand(IMAGES, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.7
    classifier = dv.wrap(Corner(), ["dark", "bright"])
    labels = torch.ones(IMAGES, dtype=torch.int64)
    found = dv.effects(classifier, (images, labels), dv.PixelGrid(2, 2), refute=True)
    passed = found.refuters.set_index("refuter")["passed"].to_dict()
    assert passed[PLACEBO]
    assert passed[RANDOM_WEIGHTS] is None  # a sanity check
    assert passed[OTHER_FILL] is False  # the mean of an image is about what the corner has
    assert found.findings[0].startswith("Not shown to use the ")  # as it fails one


def test_refuters_of_masks_judge_the_size_inside_minus_that_of_moved_masks():
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[:4, :4] = True
    images = torch.rand(IMAGES, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    classifier = dv.wrap(Corner(), ["dark", "bright"])
    labels = torch.ones(IMAGES, dtype=torch.int64)
    found = dv.effects(classifier, (images, labels), dv.Brush(mask, controls=2), refute=True)
    (subject,) = subjects(found.folder)
    (row,) = mask_contrasts(found.folder, subject.level).to_dict("records")
    as_is = found.refuters.set_index("refuter").loc[UNALTERED]
    expected = [row[f"minus_moved_log_odds{end}"] for end in ("", "_low", "_high")]
    assert as_is[["estimate", "low", "high"]].tolist() == pytest.approx(expected, abs=1e-5)
    assert [*subject.headlines] == ["mask_minus_moved"]


@pytest.mark.parametrize("intervention", [dv.RegionBox(dv.Constant(0.0), 2, 0), dv.PixelGrid(4, 4)])
def test_refuters_of_objects_judge_the_object_minus_its_controls(intervention):
    sizes = {"train_images": 8, "val_images": 8, "test_images": 40, "shape": [1, 64, 64]}
    films = dv.component("dataset", "phantom", sizes)
    shape = films.shape
    network = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), len(films.task.classes)))
    classifier = dv.wrap(network, films.task.classes)
    found = dv.effects(classifier, films, intervention, refute=True)
    assert subjects(found.folder)
    for subject in subjects(found.folder):
        table = contrasts(found.folder, subject.level).set_index(["kind", "class"])
        row = table.loc[(subject.name, subject.label)]
        verdicts = found.refuters.set_index(["subject", "class", "refuter"])
        as_is = verdicts.loc[(subject.name, subject.label, UNALTERED)]
        expected = row[["log_odds", "log_odds_low", "log_odds_high"]].tolist()
        assert as_is[["estimate", "low", "high"]].tolist() == pytest.approx(expected, abs=1e-5)


def test_images_without_labels_have_nothing_to_refute_and_an_intervention_at_two_sites_is_refused(caplog):
    classifier, digits = dv.example()
    refuted = dv.effects(classifier, digits.image, dv.PixelGrid(2, 2), refute=True).refuters
    assert refuted.empty
    assert "nothing to refute" in caplog.text
    both = dv.Joint(dv.PixelGrid(2, 2), held=dv.Activation("relu", choose=[0]))
    with pytest.raises(ValueError, match=r"refute needs an intervention at one site.*got Joint. Set refute=false"):
        dv.effects(classifier, (digits.image, digits.label), both, refute=True)
