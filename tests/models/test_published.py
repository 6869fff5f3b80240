from __future__ import annotations

import sys
import warnings

import pytest
import torch
from torch import nn

from dovision.models._published import check_colours, choose_outputs, import_extra


def test_a_library_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"needs timm .*pip install 'dovision\[timm\]'"):
        import_extra("timm", "timm")


def test_a_library_cannot_silence_the_warnings_of_others(tmp_path, monkeypatch):
    (tmp_path / "noisy_library.py").write_text("import warnings; warnings.filterwarnings('ignore')")
    monkeypatch.syspath_prepend(tmp_path)
    before = list(warnings.filters)
    import_extra("noisy_library", "noisy")
    assert warnings.filters == before


def test_outputs_are_found_by_name_and_zero_where_there_is_none():
    network = nn.Sequential(nn.Linear(2, 3))
    old = network[0]
    choose_outputs(network, "0", ["a", "b", "c"], ["c", "unheard of", "a"])
    value = torch.rand(5, 2)
    expected = torch.stack([old(value)[:, 2], torch.zeros(5), old(value)[:, 0]], 1)
    torch.testing.assert_close(network(value), expected)


def test_images_of_other_colours_are_refused():
    with pytest.raises(ValueError, match=r"chexnet takes images of 1 or 3 channels, got shape \[4, 64, 64\]"):
        check_colours("chexnet", (4, 64, 64))
