"""The Hugging Face Hub: its own client against a server on this machine that answers as the hub does."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import ganzoo
from ganzoo import UserError
from ganzoo.sharing import exchange
from ganzoo.sharing.package import Manifest, digest

hub = pytest.importorskip("huggingface_hub")
constants = pytest.importorskip("huggingface_hub.constants")

REPOSITORY = "alice/digits"


class Hub(BaseHTTPRequestHandler):
    """Keeps the files of one repository in memory; a commit is all or nothing, as on the hub."""

    files: dict[str, bytes]
    commits: list[str]

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, document: object, status: int = 200) -> None:
        self.send(json.dumps(document).encode(), status)

    def send(self, content: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", "a" * 40)
        self.end_headers()
        self.wfile.write(content)

    def entries(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": name, "size": len(content), "oid": "b" * 40}
            for name, content in self.files.items()
        ]

    def do_POST(self) -> None:
        path, here = urlsplit(self.path).path, f"http://127.0.0.1:{self.server.server_address[1]}"
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer hf_test":
            self.answer({"error": "Invalid username or password."}, 401)
        elif path == "/api/repos/create":
            self.answer({"url": f"{here}/{REPOSITORY}", "name": REPOSITORY, "id": REPOSITORY})
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif path == f"/api/models/{REPOSITORY}/preupload/main":
            names = [each["path"] for each in json.loads(body)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            self.answer({"files": modes})
        elif path == f"/api/models/{REPOSITORY}/commit/main":
            lines = [json.loads(line) for line in body.splitlines()]
            for value in [line["value"] for line in lines if line["key"] == "file"]:
                self.files[value["path"]] = base64.b64decode(value["content"])
            self.commits += [line["value"]["summary"] for line in lines if line["key"] == "header"]
            self.answer({"success": True, "commitUrl": f"{here}/{REPOSITORY}/commit/{'a' * 40}", "commitOid": "a" * 40})
        elif path == f"/api/models/{REPOSITORY}/paths-info/main":
            self.answer(self.entries())
        else:
            self.answer({"error": f"POST {path}"}, 404)

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        name = path.rpartition("/")[2]
        if path.startswith(f"/{REPOSITORY}/resolve/main/") and name in self.files:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            self.send(self.files[name][int(first) : int(last) + 1], 206)
        elif "/tree/" in path and self.files:
            self.answer(self.entries())
        elif path.startswith(f"/api/models/{REPOSITORY}") and self.files:
            self.answer({"id": REPOSITORY, "sha": "a" * 40, "siblings": [], "private": False, "tags": []})
        else:
            self.answer({"error": f"GET {path}"}, 404)


@pytest.fixture
def server(monkeypatch, tmp_path):
    handler = type("Handler", (Hub,), {"files": {}, "commits": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        here = f"http://127.0.0.1:{serving.server_address[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", here)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", here + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setenv("HF_TOKEN", "hf_test")
        monkeypatch.setenv("GANZOO_ZOO", str(tmp_path / "zoo"))
        hub.HfFileSystem.clear_instance_cache()
        yield handler
        serving.shutdown()
        hub.HfFileSystem.clear_instance_cache()


@pytest.fixture
def parcel(tmp_path, monkeypatch):
    folder = tmp_path / "parcel"
    folder.mkdir()
    (folder / "generator.onnx").write_bytes(bytes(range(256)) * 999)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Digits\n")
    about = {path.name: (digest(path), path.stat().st_size) for path in folder.iterdir()}
    manifest = Manifest("generator.onnx", "dcgan on digits", "MIT", "digits (10 samples)", about)
    (folder / "ganzoo.json").write_text(manifest.to_json())

    @contextmanager
    def packaged(run, license, registry):
        yield folder, manifest

    monkeypatch.setattr(exchange, "packaged", packaged)
    return folder


def test_a_model_goes_to_the_hub_in_one_commit_and_comes_back(server, parcel, tmp_path):
    ganzoo.push(ganzoo.Run("unused"), f"hf://{REPOSITORY}")
    assert server.commits == ["dcgan on digits"]
    assert server.files == {path.name: path.read_bytes() for path in parcel.iterdir()}
    assert ganzoo.pull(f"hf://{REPOSITORY}") == f"zoo:{REPOSITORY}"
    home = tmp_path / "zoo" / REPOSITORY
    assert {path.name: path.read_bytes() for path in Path(home).iterdir()} == server.files


def test_what_the_hub_changed_or_does_not_have_is_refused(server, parcel, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="hf://alice/digits cannot be read"):
        ganzoo.pull(f"hf://{REPOSITORY}")
    ganzoo.push(ganzoo.Run("unused"), f"hf://{REPOSITORY}")
    server.files["generator.onnx"] = bytes(256 * 999)
    with pytest.raises(UserError, match="is not what the manifest says"):
        ganzoo.pull(f"hf://{REPOSITORY}")
    assert not (tmp_path / "zoo" / "alice").exists()
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match="hf://alice/digits cannot be written") as caught:
        ganzoo.push(ganzoo.Run("unused"), f"hf://{REPOSITORY}")
    assert "\n" not in str(caught.value)
