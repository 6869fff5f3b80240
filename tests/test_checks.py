"""What each check takes, and the sentence with which it refuses."""

import math
import warnings

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from dovision import checks

NORMS, LAYERS = ("linf", "l2"), ["layer4", "layer3", "layer2", "layer11"]
IMAGE = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
TAKEN = [  # a call, and what it returns
    (lambda: checks.number("eps", "8/255"), 8 / 255),
    (lambda: checks.number("eps", " 1 / 4 "), 0.25),
    (lambda: checks.epsilons(0.1, "linf"), (0.1,)),
    (lambda: checks.epsilons([0, "1/255", 0.5], "linf"), (0.0, 1 / 255, 0.5)),
    (lambda: checks.epsilons(OmegaConf.create([0.1, "2/255"]), "linf"), (0.1, 2 / 255)),
    (lambda: repr(checks.positive_int("rows", np.int64(3))), "3"),
    (lambda: repr(checks.count("rows", np.uint8(3))), "3"),
    (lambda: checks.choice("norm", "l2", NORMS), "l2"),
    (lambda: checks.nearest("layer1", [*LAYERS, "stem"])[0], "layer11"),
    (lambda: len(checks.nearest("layer1", LAYERS)), 3),
    (lambda: checks.unknown_key("mask", "z", ["rows", "to"]), "mask has no key 'z'. Its keys are: rows, to."),
    (lambda: checks.unknown_key("mask", "row", ["rows", "to"]), "mask has no key 'row'. Did you mean rows?"),
    (lambda: checks.same_shape(a=torch.zeros(2, 3), b=torch.ones(2, 3)), None),
    (lambda: checks.image_batch(IMAGE) is IMAGE, True),
    (lambda: checks.plain_value("hparams", {1: [True, None, (2.5, "a")]}), {"1": [True, None, [2.5, "a"]]}),
    (lambda: checks.bullet_lines(["a", "b"]), "\n  a\n  b"),
    (lambda: checks.bullet_lines(["a", "b", "c"], most=1), "\n  a\n  and 2 more"),
]
VALUES = [  # a check of one value, values that it refuses, and the sentence
    (
        lambda value: checks.number("eps", value),
        ["eight", "1/2/3", "1/0", "", "/", "nan", math.inf, True, None, [0.1]],
        'eps must be a number or a fraction such as "8/255", got',
    ),
    (
        lambda value: checks.positive_int("rows", value),
        [0, -1, 2.0, "3", True, None],
        "rows must be a whole number of at",
    ),
    (lambda value: checks.positive("sigma", value), [0, -0.5, "-1/4"], "sigma must be above 0, got"),
    (
        lambda value: checks.within("value", value, 0, 1),
        [-0.1, 1.1, math.nan, "0.5", True, None],
        r"number in \[0, 1\]",
    ),
]
RANGE = r"eps must be in \[0, 1\] pixel units, got"
REFUSED = [
    *((lambda check=check, one=one: check(one), message) for check, values, message in VALUES for one in values),
    (lambda: checks.epsilons(-1, "linf"), rf"{RANGE} -1\. For 8-bit steps write a fraction such as \"8/255\""),
    (lambda: checks.epsilons([0.1, 8], "linf"), rf"{RANGE} 8\."),
    (lambda: checks.epsilons("-1/255", "l2"), "eps must be at least 0, in pixel units, got -0.00392157"),
    (lambda: checks.epsilons([0.5, "1/2"], "linf"), r"eps must name each value once, got \[0\.5, '1/2'\]"),
    (lambda: checks.epsilons([], "linf"), r"at least one value, got \[\]\. To measure clean images alone, leave the"),
    (lambda: checks.epsilons(True, "linf"), "eps must be a number .* got True"),
    (lambda: checks.epsilons(["a"], "linf"), "eps must be a number .* got 'a'"),
    (lambda: checks.choice("norm", "l_inf", NORMS), r"norm must be one of linf, l2, got 'l_inf'\. Did you mean linf\?"),
    (lambda: checks.same_shape(a=torch.zeros(2, 3), b=torch.zeros(3, 2)), r"shape, got a \(2, 3\), b \(3, 2\)"),
    (lambda: checks.image_batch(3 * IMAGE - 1), r"in \[0, 1\], got \[-1\.00, 2\.00\]\. Normalise"),
    (lambda: checks.image_batch(math.nan * IMAGE), r"in \[0, 1\], got \[nan, nan\]"),
    (lambda: checks.image_batch(IMAGE[0]), r"float of shape \(B, C, H, W\), got torch.float32 of shape \(1, 1, 2\)"),
    (lambda: checks.image_batch(IMAGE.byte()), "float of shape .* got torch.uint8"),
    (lambda: checks.labels(torch.full((1, 2), 0.5), 1, 2, True), "label must be 0, 1 or, .*, nan, got 0.5"),
    (lambda: checks.plain_value("h", {"layers": [1, IMAGE]}), r"h\.layers\[1\] must be made of plain types, got"),
]


@pytest.mark.parametrize(("call", "value"), TAKEN)
def test_what_is_taken_comes_back(call, value):
    assert call() == value


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_all_else_is_refused_in_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_library_cannot_silence_the_warnings_of_others(tmp_path, monkeypatch):
    (tmp_path / "noisy_library.py").write_text("import warnings; warnings.filterwarnings('ignore')")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(warnings.filters)
    checks.import_extra("noisy_library", "noisy")
    assert warnings.filters == before
