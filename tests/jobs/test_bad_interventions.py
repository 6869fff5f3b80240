"""Interventions that a network or the data do not allow, as typed: refused in a line, before anything is fitted."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dovision.jobs.evaluate import main

ACTIVATION = ("intervention=activation", "intervention.site=conv1")
FOLDER = ("dataset=image_folder", "dataset.classes=[cat,dog]", "dataset.shape=[1,32,32]")
TIMM = ("model=timm_model", "dataset.shape=[1,224,224]", "intervention=activation")
WINDOWS = ("model.name=swin_tiny_patch4_window7_224", "intervention.site=layers.0.blocks.0.attn.qkv")
MIXED = ("model.name=mixer_s32_224", "intervention.site=blocks.0.mlp_tokens.fc1")
BAD = {
    "unknown layout": (
        (*TIMM, *MIXED),
        r"layout of site 'blocks.0.mlp_tokens.fc1' must be known, .* of shape .*nothing shows.*layout=NTC",
    ),
    "windows": ((*TIMM, *WINDOWS), r"got shape \(64, 49, 288\) for 1 images; it may hold windows of the images there"),
    "another layout": (
        (*ACTIVATION, "intervention.layout=NTC"),
        r"layout must be that of site 'conv1', which is of shape .*, got NTC",
    ),
    "no such kind of unit": (
        (*ACTIVATION, "intervention.unit=head"),
        r"of layout NCHW, must be of a kind that it has \(channel, position\), got head",
    ),
    "no such unit": ((*ACTIVATION, "intervention.choose=[c99]"), "choose must be one of c0, c1, .*, got 'c99'"),
    "no pairs": (
        (*ACTIVATION, "value@intervention.value=interchange_pairs"),
        "intervention.value.pairs must be given, got nothing",
    ),
    "no counterfactuals": (
        (*ACTIVATION, "value@intervention.value=interchange_counterfactual"),
        "needs a dataset that can draw an image without one of its objects, got Digits",
    ),
    "sets larger than the units": (
        (*ACTIVATION, "intervention.choose=[0]", "intervention.sets=pairs"),
        "sets must not be larger than the units, got pairs of 1 unit",
    ),
    "tokens of convolutions": (("intervention=token_drop",), "the site 'tokens' needs a vision transformer"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("overrides", "message"), BAD.values(), ids=BAD)
def test_what_a_network_does_not_allow_is_refused_in_a_line(overrides, message, run_command, capsys, tmp_path):
    assert run_command(main, "dataset=digits", *overrides, f"output_root={tmp_path}") == 1
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert "Traceback" not in said
    assert not list(tmp_path.glob("checkpoints/*"))


def save(folder: Path, size: tuple[int, int], white: bool) -> str:
    """A picture, or mask, for each of twelve images."""
    for split in ("train", "val", "test"):
        for name in ("cat", "dog"):
            (folder / split / name).mkdir(parents=True)
            for number in range(2):
                pixels = np.full(size, 255 if white else 0, np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{split}{name}{number}.png")
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "white", "message"),
    [
        ((24, 24), True, r"must have the aspect of its image, 24 x 36 pixels, got 24 x 24 in .*png"),
        ((24, 36), False, r"masks must have a pixel of mask, got an empty file: .*png.*missing=skip"),
    ],
    ids=["another size", "empty"],
)
def test_masks_that_do_not_fit_are_refused_in_a_line(size, white, message, run_command, capsys, tmp_path):
    images = save(tmp_path / "images", (24, 36), True)
    masks = save(tmp_path / "masks", size, white)
    mask = ("intervention=mask_files", f"intervention.root={masks}", "intervention.files='{folder}/{stem}.png'")
    data = (*FOLDER, f"dataset.root={images}", "dataset.copies=warn")  # they are all white
    assert run_command(main, *data, *mask, f"output_root={tmp_path / 'out'}") == 1
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert "Traceback" not in said
    assert not list(tmp_path.glob("out/checkpoints/*"))
