"""Verdicts of refuters on tables whose answer is known, and on networks that read content, edges or one fill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import dovision as dv
from dovision.analysis.refuters import NOT_SHOWN, refutations
from dovision.findings.refuter_findings import verdict, verdict_table
from dovision.functional.estimates import FEW_IMAGES
from dovision.functional.intervals import mean_interval
from dovision.store.refuter_table import (
    FRAME_ONLY,
    HALF_DOSE,
    HALF_OF_IMAGES,
    OTHER_FILL,
    PLACEBO,
    RANDOM_WEIGHTS,
    REFUTERS_FILE,
    UNALTERED,
)
from dovision.store.run_record import Run
from dovision.store.tables import write_table

IMAGES = 40


def written(folder: Path, images: int = IMAGES, level: float = 0.95, **means: float) -> pd.DataFrame:
    """Verdicts of effects with these means by refuter (blanks as _), each of standard deviation 1 over images."""
    random, rows = np.random.default_rng(0), []
    for name, mean in means.items():
        values = random.normal(size=images)
        for sample, value in enumerate((values - values.mean()) / values.std() + mean):
            key = {"sample": sample, "group": sample, "headline": "largest_effect", "refuter": name.replace("_", " ")}
            unit = {"subject": "r0c0", "unit": "r0c0", "class": "cat", "level": level}
            rows.append({**key, **unit, "effect": 0.0, "log_odds_effect": value})
    write_table(folder / REFUTERS_FILE, REFUTERS_FILE.schema(), [REFUTERS_FILE.from_frame(pd.DataFrame(rows))])
    return refutations(folder).set_index("refuter")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("refuter", "mean", "passed"),
    [
        (PLACEBO, 0.0, True),  # nothing happens elsewhere
        (PLACEBO, 3.0, False),  # as much happens elsewhere
        (FRAME_ONLY, 2.0, True),
        (FRAME_ONLY, 4.0, False),
        (RANDOM_WEIGHTS, 2.8, False),  # not shown to be less
        (OTHER_FILL, 1.0, True),
        (OTHER_FILL, 0.0, False),
        (OTHER_FILL, -3.0, False),
        (HALF_DOSE, 1.5, True),
        (HALF_DOSE, 0.0, False),
        (HALF_DOSE, 9.0, False),  # more than the whole dose
    ],
)
def test_a_refuter_passes_by_its_rule(refuter, mean, passed, sign, tmp_path):
    found = written(tmp_path, **{UNALTERED.replace(" ", "_"): 3.0 * sign, refuter.replace(" ", "_"): mean * sign})
    assert found.loc[UNALTERED, "passed"]
    assert found.loc[refuter, "passed"] == passed


def test_numbers_are_those_of_the_paired_difference_at_the_level_of_the_headline(tmp_path):
    found = written(tmp_path, level=0.999, as_it_is=3.0, placebo_region=1.0).loc[PLACEBO]
    rows = REFUTERS_FILE.read(tmp_path).pivot(index="sample", columns="refuter", values="log_odds_effect")
    expected = mean_interval((rows[UNALTERED] - rows[PLACEBO]).to_numpy(float), np.arange(IMAGES), level=0.999)
    assert found[["estimate", "low", "high"]].tolist() == pytest.approx(expected[:3], abs=1e-6)


def test_a_headline_that_is_not_shown_is_not_refuted(tmp_path):
    found = written(tmp_path, as_it_is=0.0, placebo_region=0.0)
    assert not found.loc[UNALTERED, "passed"]
    assert found.loc[PLACEBO, ["passed", "reason"]].tolist() == [None, NOT_SHOWN]


def test_half_of_the_images_are_half_of_the_groups_and_few_decide_nothing(tmp_path):
    found = written(tmp_path, as_it_is=3.0)
    assert found.loc[HALF_OF_IMAGES, ["passed", "images"]].tolist() == [True, IMAGES // 2]
    few = written(tmp_path, images=6, as_it_is=3.0)
    assert few.loc[HALF_OF_IMAGES, ["passed", "reason"]].tolist() == [None, FEW_IMAGES]


def test_a_run_that_does_not_refute_has_no_verdicts(tmp_path):
    assert refutations(tmp_path).empty
    assert verdict(Run(tmp_path, "", "completed", {}, {}, {}), "largest_effect", "r0c0", "cat") == ""


def test_the_sentence_names_what_a_headline_fails_and_the_table_has_all(tmp_path):
    written(tmp_path, as_it_is=3.0, placebo_region=0.0, frame_only=3.0)
    run = Run(tmp_path, "", "completed", {}, {}, {"refutations": refutations(tmp_path).to_dict("records")})
    assert verdict(run, "largest_effect", "r0c1", "cat") == ""
    text = verdict(run, "largest_effect", "r0c0", "cat")
    assert text.startswith(" It does not stand: of 3 refuters it fails frame only (")
    table = verdict_table(refutations(tmp_path))
    assert set(table.index) == {"r0c0 on cat"}
    assert table["verdict"].tolist() == ["shown", "passed", "failed", "passed"]


class Corner(nn.Module):
    """Logits (0, w * what is read): the sum of the upper left quarter, or the edges of the whole image."""

    def __init__(self, edges: bool) -> None:
        super().__init__()
        self.weight, self.edges = nn.Parameter(torch.tensor(1.0)), edges

    def forward(self, image):
        across = image[:, 0].diff(dim=1).square().sum((1, 2))
        read = across if self.edges else image[:, 0, :4, :4].sum((1, 2))
        return torch.stack([torch.zeros_like(read), self.weight * read], 1)


def refuted(edges: bool) -> dv.MeasuredEffects:
    images = torch.rand(IMAGES, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.7
    classifier = dv.wrap(Corner(edges), ["dark", "bright"])
    labels = torch.ones(IMAGES, dtype=torch.int64)
    return dv.effects(classifier, (images, labels), dv.PixelGrid(2, 2), refute=True)


def test_a_network_that_reads_content_passes_what_content_passes():
    found = refuted(edges=False)
    passed = found.refuters.set_index("refuter")["passed"].to_dict()
    assert all(passed[name] for name in (PLACEBO, FRAME_ONLY, HALF_DOSE, HALF_OF_IMAGES))
    assert passed[RANDOM_WEIGHTS] is False  # one parameter, which randomising leaves as it is
    assert "It does not stand" in found.findings[0]
    assert "random weights" in found.findings[0]


def test_a_network_that_reads_edges_fails_the_frame():
    passed = refuted(edges=True).refuters.set_index("refuter")["passed"].to_dict()
    assert not passed[FRAME_ONLY]


def test_an_intervention_at_two_sites_is_refused():
    classifier, digits = dv.example()
    through = dv.Path(dv.PixelGrid(2, 2), through="relu")
    with pytest.raises(ValueError, match=r"refute needs an intervention at one site.*got Path. Set refute=false"):
        dv.effects(classifier, (digits.image, digits.label), through, refute=True)
