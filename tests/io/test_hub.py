"""The hub answers at once: yes, no, or not at all, and then the cache alone is read."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dovision.io.hub import asked_once

huggingface_hub = pytest.importorskip("huggingface_hub")
from huggingface_hub import HfApi, constants, errors  # noqa: E402

RESPONSE = SimpleNamespace(headers={}, request=None, status_code=404)


def answering(monkeypatch, error: Exception | None):
    asked = []

    def repo_info(self, name, **settings):
        asked.append((name, settings["repo_type"], settings["revision"]))
        if error is not None:
            raise error

    monkeypatch.setattr(HfApi, "repo_info", repo_info)
    return asked


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.RepositoryNotFoundError("404", response=RESPONSE), "the hub has no dataset cifarr10 that you may read"),
        (errors.GatedRepoError("403", response=RESPONSE), "log in with `hf auth login`"),
        (errors.RevisionNotFoundError("404", response=RESPONSE), "no revision v9. Set dataset.revision"),
    ],
)
def test_what_the_hub_does_not_have_is_read_from_the_cache_or_refused(monkeypatch, caplog, error, message):
    asked = answering(monkeypatch, error)
    with pytest.raises(ValueError, match=message), asked_once("dataset", "cifarr10", "v9"):
        raise FileNotFoundError("not in the cache")
    assert asked == [("cifarr10", "dataset", "v9")]
    assert not caplog.text
    with asked_once("dataset", "cifarr10", "v9"):
        assert constants.HF_HUB_OFFLINE
    assert "the dataset cifarr10 is read from the cache" in caplog.text


def test_a_name_that_the_hub_could_not_have_is_refused_before_anything_is_read(monkeypatch):
    answering(monkeypatch, errors.HFValidationError("Repo id must be"))
    message = "cifarr10 is no name that the hub could have: Repo id must be"
    with pytest.raises(ValueError, match=message), asked_once("dataset", "cifarr10"):
        pytest.fail("nothing is to be read")


def test_a_library_that_is_told_to_stay_offline_asks_nobody(monkeypatch):
    pytest.importorskip("datasets")
    asked = answering(monkeypatch, None)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)  # as HF_DATASETS_OFFLINE=1 sets it
    with asked_once("dataset", "cifar10"):
        assert constants.HF_HUB_OFFLINE
    with pytest.raises(ConnectionError, match="the hub is not asked"), asked_once("dataset", "cifar10"):
        raise FileNotFoundError("not in the cache")
    assert not asked


def test_what_the_hub_has_is_read_from_it(monkeypatch):
    answering(monkeypatch, None)
    with asked_once("model", "google/vit"):
        assert not constants.HF_HUB_OFFLINE


@pytest.mark.parametrize("error", [OSError("no route\nto host"), errors.OfflineModeIsEnabled("offline mode")])
def test_a_silent_hub_leaves_the_cache(monkeypatch, error):
    answering(monkeypatch, error)
    with asked_once("model", "google/vit"):
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE
    reason = str(error).partition("\n")[0]
    with (
        pytest.raises(ConnectionError, match=f"^the hub does not answer: {reason}$"),
        asked_once("model", "google/vit"),
    ):
        raise FileNotFoundError("not in the cache")
    assert not constants.HF_HUB_OFFLINE
