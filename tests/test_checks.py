import math
import warnings

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from dovision import checks


def test_fractions_and_numbers_are_read():
    assert checks.number("eps", "8/255") == 8 / 255
    assert checks.number("eps", " 1 / 4 ") == 0.25
    assert checks.number("eps", "1e-3") == 0.001
    assert checks.number("eps", 3) == 3.0


@pytest.mark.parametrize("value", ["eight", "1/2/3", "1/0", "", "/", "nan", math.inf, True, None, [0.1]])
def test_what_is_not_a_number_is_named(value):
    with pytest.raises(ValueError, match='eps must be a number or a fraction such as "8/255", got'):
        checks.number("eps", value)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (0.1, (0.1,)),
        (1, (1.0,)),
        ("8/255", (8 / 255,)),
        ([0, "1/255", 0.5], (0.0, 1 / 255, 0.5)),
        (OmegaConf.create([0.1, "2/255"]), (0.1, 2 / 255)),
    ],
)
def test_one_epsilon_or_several_are_read(given, read):
    assert checks.epsilons(given, "linf") == read


def test_an_l2_epsilon_may_be_above_one():
    assert checks.epsilons(3.5, "l2") == (3.5,)


@pytest.mark.parametrize(
    ("eps", "norm", "message"),
    [
        (
            -1,
            "linf",
            r"eps must be in \[0, 1\] pixel units, got -1\. For 8-bit steps write a fraction such as \"8/255\"",
        ),
        (300, "linf", r"eps must be in \[0, 1\] pixel units, got 300\."),
        ([0.1, 8], "linf", r"eps must be in \[0, 1\] pixel units, got 8\."),
        ("-1/255", "l2", "eps must be at least 0, in pixel units, got -0.00392157"),
        ([0.5, "1/2"], "linf", r"eps must name each value once, got \[0\.5, '1/2'\]"),
        (
            [],
            "linf",
            r"eps must name at least one value, got \[\]\. To measure clean images alone, leave the attack out",
        ),
        (True, "linf", "eps must be a number .* got True"),
        (["a"], "linf", "eps must be a number .* got 'a'"),
    ],
)
def test_bad_epsilons_are_named_with_the_remedy(eps, norm, message):
    with pytest.raises(ValueError, match=message):
        checks.epsilons(eps, norm)


@pytest.mark.parametrize("value", [0, -1, 2.0, "3", True, None])
def test_a_count_is_a_whole_number_above_zero(value):
    assert checks.positive_int("rows", 1) == 1
    with pytest.raises(ValueError, match="rows must be a whole number of at least 1, got"):
        checks.positive_int("rows", value)


def test_a_whole_number_of_numpy_is_one_of_python():
    assert repr(checks.positive_int("rows", np.int64(3))) == repr(checks.count("rows", np.uint8(3))) == "3"


@pytest.mark.parametrize("value", [0, -0.5, "-1/4"])
def test_a_size_is_above_zero(value):
    assert checks.positive("sigma", "1/4") == 0.25
    with pytest.raises(ValueError, match="sigma must be above 0, got"):
        checks.positive("sigma", value)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, math.inf, "0.5", True, None])
def test_a_bounded_number_lies_within_its_bounds(value):
    assert checks.within("value", 1, 0, 1) == 1.0
    with pytest.raises(ValueError, match=r"value must be a number in \[0, 1\], got .*\. Use pixels\."):
        checks.within("value", value, 0, 1, "Use pixels.")


def test_a_wrong_choice_names_the_nearest():
    assert checks.choice("norm", "l2", ("linf", "l2")) == "l2"
    with pytest.raises(ValueError, match=r"norm must be one of linf, l2, got 'l_inf'\. Did you mean linf\?"):
        checks.choice("norm", "l_inf", ("linf", "l2"))


def test_a_choice_far_from_all_gets_no_suggestion():
    with pytest.raises(ValueError, match=r"got 'xyz'\.$"):
        checks.choice("norm", "xyz", ("linf", "l2"))


def test_an_unknown_key_names_the_nearest_or_all_that_there_are():
    assert checks.unknown_key("mask", "z", ["rows", "columns"]) == "mask has no key 'z'. Its keys are: rows, columns."
    message = checks.unknown_key("mask", "colums", ["rows", "columns"])
    assert message == "mask has no key 'colums'. Did you mean columns?"


def test_the_nearest_are_at_most_three_the_closest_first():
    assert checks.nearest("layer1", ["layer4", "layer3", "layer2", "layer11", "stem"])[0] == "layer11"
    assert len(checks.nearest("layer1", ["layer4", "layer3", "layer2", "layer11"])) == 3


def test_tensors_of_other_shapes_are_named_with_their_shapes():
    checks.same_shape(a=torch.zeros(2, 3), b=torch.ones(2, 3))
    with pytest.raises(ValueError, match=r"a and b must have the same shape, got a \(2, 3\), b \(3, 2\)"):
        checks.same_shape(a=torch.zeros(2, 3), b=torch.zeros(3, 2))


def test_images_in_the_range_pass_as_they_are():
    image = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    assert checks.image_batch(image) is image


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.full((1, 1, 2, 2), 2.64) * torch.tensor([-0.8, 1]), r"in \[0, 1\], got \[-2\.11, 2\.64\]\. Normalise"),
        (torch.full((1, 1, 2, 2), math.nan), r"in \[0, 1\], got \[nan, nan\]"),
        (torch.zeros(3, 4, 4), r"float of shape \(B, C, H, W\), got torch.float32 of shape \(3, 4, 4\)"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "float of shape .* got torch.uint8"),
    ],
)
def test_what_is_not_a_batch_of_images_is_refused_with_the_remedy(image, message):
    with pytest.raises(ValueError, match=message):
        checks.image_batch(image)


def test_plain_types_pass_and_configs_become_plain():
    assert checks.plain_value("hparams", {1: [True, None, (2.5, "a")]}) == {"1": [True, None, [2.5, "a"]]}


def test_what_is_not_plain_is_named_with_its_place():
    with pytest.raises(ValueError, match=r"hparams\.layers\[1\] must be made of plain types, got Tensor"):
        checks.plain_value("hparams", {"layers": [1, torch.zeros(1)]})


def test_a_long_list_is_told_by_its_first_lines_and_a_count():
    assert checks.bullet_lines(["a", "b"]) == "\n  a\n  b"
    assert checks.bullet_lines(["a", "b", "c"], most=1) == "\n  a\n  and 2 more"


def test_a_library_cannot_silence_the_warnings_of_others(tmp_path, monkeypatch):
    (tmp_path / "noisy_library.py").write_text("import warnings; warnings.filterwarnings('ignore')")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(warnings.filters)
    checks.import_extra("noisy_library", "noisy")
    assert warnings.filters == before
