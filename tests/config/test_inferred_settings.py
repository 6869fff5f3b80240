"""Names of classes that a dataset finds in its files are names, and nothing else."""

import sys
from types import ModuleType

import pytest
from omegaconf import OmegaConf

from dovision.config.inferred_settings import with_inferred_settings


@pytest.mark.parametrize("name", ["${oc.env:SECRET}", "a-${seed}", "${"])
def test_a_class_that_refers_to_another_value_is_refused(monkeypatch, name):
    class Folders:
        @classmethod
        def found_classes(cls, settings):
            return ["healthy", name]

    module = ModuleType("other_folders")
    module.Folders = Folders
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("SECRET", "hunter2")
    config = OmegaConf.create({"dataset": {"_target_": f"{module.__name__}.Folders", "classes": None}})
    with pytest.raises(ValueError, match="dataset: a class must have a name without") as refused:
        with_inferred_settings(config)
    assert "hunter2" not in str(refused.value)
