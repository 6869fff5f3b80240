"""A `_target_` that is not found: the error says where Python has looked, and what to write."""

import sys

import pytest

from dovision.config.import_target import import_target


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with a package of the user's own in it, which is not on Python's path."""
    package = tmp_path / "own_components"
    package.mkdir()
    (package / "darken.py").write_text("class Darken:\n    pass\n")
    (package / "unmet.py").write_text("import not_installed_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "own_components"]:
        del sys.modules[name]


def refusal(target: str) -> str:
    with pytest.raises(ImportError) as raised:
        import_target(target)
    return str(raised.value)


def test_a_package_of_the_working_folder_is_found_by_pythonpath_alone(folder, monkeypatch):
    message = refusal("own_components.darken.Darken")
    assert message.startswith(f"there is no module 'own_components'. It lies in the working folder, {folder},")
    assert message.endswith("write PYTHONPATH=. before the command.")
    monkeypatch.syspath_prepend(folder)
    assert import_target("own_components.darken.Darken").__name__ == "Darken"


def test_a_package_that_lies_nowhere_near_names_the_folders_that_are_searched(folder):
    message = refusal("my_package.darken.Darken")
    assert "PYTHONPATH (/nowhere)" in message
    assert f"not in the working folder ({folder})" in message
    assert message.endswith("with the folder in which my_package lies.")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("own_components.darkn.Darken", "has no 'darkn'. Did you mean darken?"),
        ("own_components.darken.Darkn", "own_components.darken has no 'Darkn'. Did you mean Darken?"),
        ("own_components.unmet.Any", "own_components.unmet imports not_installed_anywhere, which Python does not find"),
        ("own_components..Darken", "a name is empty"),
        ("", "a name is empty"),
    ],
)
def test_a_name_that_is_wrong_inside_a_package_is_named(target, message, folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    assert message in refusal(target)


def test_a_classmethod_and_a_function_of_its_modules_name_are_targets_as_in_hydra(folder, monkeypatch):
    assert import_target("fractions.Fraction.from_float")(0.5) == 0.5
    package = folder / "mynets"
    package.mkdir()
    (package / "unet.py").write_text("def unet():\n    return 1\n")
    (package / "__init__.py").write_text("from mynets.unet import unet\n")
    monkeypatch.syspath_prepend(str(folder))
    assert import_target("mynets.unet")() == 1
