"""Parquet that is streamed from behind a URL: what is read of it, and servers that fail or know too little."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import pytest
import torch

pytest.importorskip("datasets.config")  # a folder of tests is called datasets too
from test_hf_streaming import _own_cache, opened, write

from ganzoo import Stream, UserError
from ganzoo.data.dataset import content_hash
from ganzoo_plugins.datasets.places import read_range

pytest.importorskip("pyarrow.parquet")
__all__ = ["_own_cache"]


class Flaky(BaseHTTPRequestHandler):
    """Serves ranges of files, and closes the connection in the middle of what lies behind a place."""

    protocol_version = "HTTP/1.1"
    folder: Path
    broken = missing = False
    says_length = ranges = True
    sent: list[int]

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        if self.missing:
            self.send_error(404)
            return
        content = (self.folder / self.path.lstrip("/").partition("?")[0]).read_bytes()
        first, last = 0, len(content) - 1
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")) if self.ranges else None
        if found:
            first, last = int(found[1]), min(int(found[2]), last)
        self.send_response(206 if found else 200)
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if self.says_length:
            if found:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        self.close_connection = not self.says_length
        if self.command == "GET":
            part = content[first : last + 1]
            self.sent.append(len(part))
            self.wfile.write(part[: len(part) // 2] if type(self).broken else part)
            self.close_connection |= type(self).broken


@contextmanager
def served(folder):
    handler = type("Handler", (Flaky,), {"folder": folder, "sent": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield handler, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_url_gives_the_same_and_a_connection_that_closes_is_one_sentence(tmp_path):
    pytest.importorskip("aiohttp")  # which the library datasets brings
    write(tmp_path / "data")
    with served(tmp_path / "data") as (handler, here):
        place = here + "/train-{00000..00002}-of-00003.parquet"
        remote, local = opened(place), opened(tmp_path / "data")
        assert remote.spec == local.spec
        assert content_hash(remote) == content_hash(local)
        streams = [Stream(each, 12, seed=1) for each in (remote, local)]
        for _ in range(4):
            one, other = (next(stream) for stream in streams)
            assert torch.equal(one["x"], other["x"])
        handler.broken = True
        with pytest.raises(UserError, match="cannot be read") as caught:
            list(islice(streams[0], 15))
        assert "\n" not in str(caught.value)
        position = streams[0].position
        handler.broken = False
        again = Stream(opened(place), 12, 1, position)
        assert torch.equal(next(again)["x"], Stream(local, 12, 1, position).fetch(position)["x"])
    with pytest.raises(UserError, match="streaming=true"):
        opened(place, streaming=False)


def test_nothing_but_footers_and_classes_is_read_of_a_url_at_the_start(tmp_path):
    pytest.importorskip("aiohttp")
    (file,) = write(tmp_path / "data", files=1, rows=2000, each=100).iterdir()
    with served(tmp_path / "data") as (handler, here):
        data = opened(f"{here}/{file.name}", image="photo")
        footers = 2 * 2**16  # one of them for the features
        assert sum(handler.sent) < footers + 20 * 200
        data.batch(torch.arange(250, 260), torch.Generator())
        assert sum(handler.sent) < footers + 2**16 + 20 * 200 + file.stat().st_size / 10


@pytest.mark.parametrize("query", ["?signature=SECRET", "?signature=SECRET%2Fb%20c%3D"])
def test_what_signs_a_url_is_never_shown(tmp_path, query):
    pytest.importorskip("aiohttp")
    (file,) = write(tmp_path / "data", files=1).iterdir()
    with served(tmp_path / "data") as (handler, here):
        data = opened(f"{here}/{file.name}{query}")
        handler.missing = True
        for work in (
            lambda: data.batch(torch.arange(9), torch.Generator()),
            lambda: opened(f"{here}/{file.name}{query}"),
        ):
            with pytest.raises(UserError, match=r"Not Found|there are no") as caught:
                work()
            assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        ("says_length", "the server does not say how long it is"),
        ("ranges", "its server sends files as a whole"),
    ],
)
def test_a_server_that_knows_no_parts_is_one_sentence(tmp_path, lacks, said):
    pytest.importorskip("aiohttp")
    (file,) = write(tmp_path / "data", files=1).iterdir()
    with served(tmp_path / "data") as (handler, here):
        setattr(handler, lacks, False)
        with pytest.raises(UserError, match=said):
            opened(f"{here}/{file.name}")
        if lacks == "ranges":
            with pytest.raises(UserError, match=said):
                read_range(f"{here}/{file.name}", 10, 20)
