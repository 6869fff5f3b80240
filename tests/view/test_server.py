"""The server: the page's own questions are answered, those of other pages are not."""

import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from dovision.view.view_session import ViewSession
from dovision.view.worker import Worker
from waiting import wait_for


@pytest.fixture
def address(opened, serve):
    pytest.importorskip("starlette", reason="needs the extra view")
    worker = Worker()
    yield serve(ViewSession(opened, worker.pause, worker.begin), worker)
    worker.close()


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


def test_questions_are_answered_and_errors_are_sentences(address, ask):
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


def test_a_map_is_measured_in_the_background(address, ask):
    image = ask(f"{address}/sample", {"sample": 0})[1]["image"]
    asked = {"images": [image], "rows": 4, "fill": {"name": "mean"}, "scale": "probability"}
    wait_for(lambda: ask(f"{address}/maps", asked)[1]["done"])
    found = ask(f"{address}/maps", asked)[1]
    assert len(found["maps"][str(image)]["values"]) == 16


def test_an_attack_lets_a_brush_through_and_is_ended_by_the_next(address, ask):
    image = ask(f"{address}/sample", {"sample": 0})[1]["image"]
    endless = {"name": "pgd", "eps": "8/255", "settings": {"steps": 1000, "restarts": 1000}}
    with ThreadPoolExecutor() as threads:
        first = threads.submit(ask, f"{address}/attack", {"image": image, "attack": endless})
        unit = {"site": "relu", "kind": "channel", "number": 5, "value": {"name": "zero"}}
        assert ask(f"{address}/effect", {"image": image, "unit": unit})[0] == 200
        assert not first.done()
        for _ in range(100):  # on a busy machine the first may arrive behind the next, or end it
            second = ask(f"{address}/attack", {"image": image, "attack": {"name": "fgsm", "eps": "8/255"}})
            if wait([first], 0.3).done:
                break
        assert second[0] == 200
        assert first.result(0) == (409, {"error": "another attack was asked for since, or another image."})


@pytest.mark.parametrize("given", ["", "/", "/b-token/", "/a-toke/", "/a-token1/", "//a-token/", "/%2e%2e/a-token/"])
@pytest.mark.parametrize("path", ["", "view.js", "page.css", "thumbnail/0", "choices", "nowhere", "?token=a-token"])
def test_without_the_token_nothing_is_answered(address, ask, given, path):
    base = address.removesuffix("/a-token")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{base}{given or '/'}{path}")
    assert ask(f"{base}{given or '/'}{path}")[0] == 403


def test_another_name_of_this_machine_is_refused(address, ask):
    assert ask(f"{address}/choices", {}, Host="evil.example")[0] == 400
