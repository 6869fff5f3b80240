"""The server: the page's own questions are answered, those of other pages are not."""

import json
import urllib.error
import urllib.request

import pytest

from dovision.view.view_session import ViewSession
from dovision.view.worker import Worker


@pytest.fixture
def address(opened, serve):
    pytest.importorskip("starlette", reason="needs the extra view")
    worker = Worker()
    yield serve(ViewSession(opened, worker.check, worker.begin), worker)
    worker.close()


def ask(address, asked=None):
    """Status and answer of a question, from a page that is the server's own."""
    body = asked if isinstance(asked, bytes) else json.dumps(asked or {}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, method="POST")) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            text = refused.read()
        return refused.code, json.loads(text) if text.startswith(b"{") else text.decode()


def test_the_page_and_its_files_come_from_the_server_alone(address):
    for path, kind in (("/", "text/html"), ("/view.js", "text/javascript"), ("/view.css", "text/css")):
        with urllib.request.urlopen(address + path) as answer:
            text = answer.read().decode()
            assert answer.headers["content-type"].startswith(kind)
        assert "http://" not in text
        assert "https://" not in text
    with urllib.request.urlopen(address) as answer:
        assert answer.url == f"{address}/"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"


def test_questions_are_answered_and_errors_are_sentences(address):
    status, choices = ask(f"{address}/choices")
    assert (status, choices["network"], len(choices["classes"])) == (200, "example", 10)
    assert choices["fills"]["blur"] == {"sigma": 8.0}
    assert (choices["names"]["pgd"], choices["names"]["mifgsm"]) == ("PGD", "MI-FGSM")
    assert ask(f"{address}/sample", {"sample": 0})[1]["predicted"] == 1
    assert ask(f"{address}/sample", {"sample": 8}) == (
        400,
        {"error": "sample must be a whole number from 0 to 7, got 8."},
    )
    assert ask(f"{address}/effect", {"image": 7})[0] == 400
    status, answer = ask(f"{address}/picture?name=a.jpg", b"no picture")
    assert status == 400
    assert answer["error"].startswith("a.jpg must be a whole image, but is")


@pytest.mark.parametrize("given", ["", "/", "/b-token/", "/a-toke/", "/a-token1/", "//a-token/", "/%2e%2e/a-token/"])
@pytest.mark.parametrize("path", ["", "view.js", "page.css", "thumbnail/0", "choices", "nowhere", "?token=a-token"])
def test_without_the_token_nothing_is_answered(address, given, path):
    base = address.removesuffix("/a-token")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{base}{given or '/'}{path}")
    assert ask(f"{base}{given or '/'}{path}")[0] == 403
