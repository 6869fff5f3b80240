"""Downloads from a server on this machine that can send parts of a file, break off, or neither."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dovision.datasets import _download

DATA = bytes(range(256)) * 400
MD5 = hashlib.md5(DATA).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Sends DATA, from where it is asked if it knows ranges, and at most `limit` bytes an answer."""

    ranges = True
    limit = len(DATA)
    starts: list[int]  # of each answer, in bytes

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.ranges else 0
        if start >= len(DATA):
            self.send_error(416)
            return
        self.starts.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(DATA) - start))
        self.end_headers()
        self.wfile.write(DATA[start : start + self.limit])

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def server():
    handler = type("OneServer", (Server,), {"starts": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        handler.address = f"http://127.0.0.1:{running.server_address[1]}/a.npz"
        yield handler
        running.shutdown()


def test_a_file_is_fetched_whole_and_only_once(server, tmp_path):
    for _ in range(2):
        _download.fetch(tmp_path / "new" / "a.npz", server.address, MD5)
    assert (tmp_path / "new" / "a.npz").read_bytes() == DATA
    assert server.starts == [0]


def test_a_download_that_broke_off_goes_on_where_it_was(server, tmp_path):
    server.limit = 60_000
    with pytest.raises(OSError, match="ended after 60,000 of 102,400 bytes"):
        _download.fetch(tmp_path / "a.npz", server.address, MD5)
    assert not (tmp_path / "a.npz").exists()
    _download.fetch(tmp_path / "a.npz", server.address, MD5)
    assert (tmp_path / "a.npz").read_bytes() == DATA
    assert server.starts == [0, 60_000]


def test_a_server_without_ranges_sends_all_anew(server, tmp_path):
    server.ranges = False
    (tmp_path / "a.npz.part").write_bytes(b"something else")
    _download.fetch(tmp_path / "a.npz", server.address, MD5)
    assert (tmp_path / "a.npz").read_bytes() == DATA


def test_a_part_that_is_all_of_the_file_is_taken(server, tmp_path):
    (tmp_path / "a.npz.part").write_bytes(DATA)
    _download.fetch(tmp_path / "a.npz", server.address, MD5)
    assert (tmp_path / "a.npz").read_bytes() == DATA


def test_a_wrong_file_is_refused_and_not_kept(server, tmp_path):
    (tmp_path / "a.npz.part").write_bytes(b"x" * 1000)
    with pytest.raises(OSError, match=f"has the md5 .* and not {MD5}"):
        _download.fetch(tmp_path / "a.npz", server.address, MD5)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_no_answer_is_told_with_the_remedy(server, tmp_path):
    port = server.address.split(":")[2].split("/")[0]
    nowhere = server.address.replace(port, "9")  # the discard port, which nothing listens to
    message = r"a.npz could not be downloaded: .*goes on where it broke off. By hand: "
    with pytest.raises(FileNotFoundError, match=message):
        _download.required(tmp_path / "a.npz", nowhere, MD5, True, "a.npz")
