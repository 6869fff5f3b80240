"""The hub of Hugging Face, asked once for a name before its files are read, in place of minutes of retries."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)
_SECONDS = 10  # without an answer


@contextmanager
def asked_once(repository: str, name: str, revision: str | None = None) -> Iterator[None]:
    """Read hub files within the block, from the cache alone if the hub does not answer or refuses.

    Raises:
        ValueError: the hub could not have such a name; or it answers that it has no such name or revision, or none for
            this user, and the files are not in the cache.
        ConnectionError: the hub does not answer, or is not to be asked, and the files are not in the cache.
    """
    refusal = _refusal(repository, name, revision)
    if refusal is None:
        yield
        return
    try:
        with _cache_alone():
            yield
    except OSError as error:
        raise refusal from error
    if isinstance(refusal, ValueError):
        log.warning("the %s %s is read from the cache: the hub has none that you may read", repository, name)


def _refusal(repository: str, name: str, revision: str | None) -> ValueError | ConnectionError | None:
    """Error to raise if the cache lacks the files; None if the hub has them."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    if repository == "dataset" and getattr(sys.modules.get("datasets.config"), "HF_HUB_OFFLINE", False):
        return ConnectionError("the hub is not asked, as HF_DATASETS_OFFLINE or HF_HUB_OFFLINE says")
    try:
        HfApi().repo_info(name, repo_type=repository, revision=revision, timeout=_SECONDS)
    except RevisionNotFoundError:
        return ValueError(f"the {repository} {name} of the hub has no revision {revision}. Set {repository}.revision.")
    except RepositoryNotFoundError:
        return ValueError(
            f"the hub has no {repository} {name} that you may read. Correct the name; if it is private or gated, ask "
            "for access on its page, and log in with `hf auth login`."
        )
    except ValueError as error:  # no name that the hub could have
        raise ValueError(f"{name} is no name that the hub could have: {_first_line(error)}") from error
    except Exception as error:  # whatever the client of the day raises where there is no network, or a busy server
        return ConnectionError(f"the hub does not answer: {_first_line(error)}")
    return None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


@contextmanager
def _cache_alone() -> Iterator[None]:
    """Make the libraries of Hugging Face read their caches without network access."""
    modules = [sys.modules[name] for name in ("huggingface_hub.constants", "datasets.config") if name in sys.modules]
    before = [module.HF_HUB_OFFLINE for module in modules]
    try:
        for module in modules:
            module.HF_HUB_OFFLINE = True  # type: ignore[attr-defined]
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            module.HF_HUB_OFFLINE = value  # type: ignore[attr-defined]
