"""The lists of slow and of long tests are lists of tests, and of fixtures."""

from __future__ import annotations

import re

import pytest

from made_slow import FOLDER, LISTS, names


@pytest.mark.parametrize("marker", LISTS)
def test_each_name_is_that_of_a_test_or_fixture(marker):
    for name in names(marker):
        path, *_, function = name.split("::")
        assert re.search(rf"^ *def {function}\(", (FOLDER.parent / path).read_text(), re.MULTILINE), name
