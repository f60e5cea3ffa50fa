"""lib/data/fetch.py against a server on this machine."""

import functools
import hashlib
import http.server
import threading
from pathlib import Path

import pytest
from official_files import HELEN, LFW_IDS, helen_files, lfw_files, place

from lib import InputError, data
from lib.data import fetch
from lib.data.__main__ import main


@pytest.fixture
def server(tmp_path):
    """(address, folder, paths asked for) of a web server on this machine."""
    asked, folder = [], tmp_path / "web"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            asked.append(self.path)

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/", folder, asked
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def serve_lfw(folder: Path, monkeypatch) -> None:
    """Put tiny LFW archives on the server and let lib.data.fetch expect their checksums."""
    source = place(folder.parent / "source", lfw_files()) / "lfw"
    remotes = []
    for remote in fetch.REMOTES["lfw"]:
        content = (source / remote.file).read_bytes()
        (folder / remote.file).write_bytes(content)
        kind = remote.checksum.split(":")[0]
        checksum = f"{kind}:{hashlib.new(kind, content).hexdigest()}"
        remotes.append(fetch.Remote(remote.file, checksum, remote.urls))
    monkeypatch.setitem(fetch.REMOTES, "lfw", tuple(remotes))


def test_fetch_then_load_and_nothing_is_downloaded_twice(tmp_path, server, monkeypatch, capsys):
    address, folder, asked = server
    serve_lfw(folder, monkeypatch)
    assert main(["fetch", "lfw", "--data", str(tmp_path / "root"), "--url", address]) == 0
    assert data.load("lfw", 16, tmp_path / "root").ids == LFW_IDS
    assert len(asked) == 2
    paths = fetch.fetch("lfw", tmp_path / "root", [address])
    assert [path.parent for path in paths] == [tmp_path / "root/lfw"] * 2
    assert len(asked) == 2 and str(tmp_path / "root/lfw/lfw-funneled.tgz") in capsys.readouterr().out


def test_fetch_tries_the_second_address(tmp_path, server, monkeypatch):
    address, folder, asked = server
    serve_lfw(folder, monkeypatch)
    (folder / "bad").mkdir()
    (folder / "bad/lfw-funneled.tgz").write_bytes(b"other content")
    monkeypatch.setenv("IOU_STUDY_URLS", f"{address}bad/ {address}nowhere/ {address}")
    assert all(path.exists() for path in fetch.fetch("lfw", tmp_path / "root"))
    assert "/bad/lfw-funneled.tgz" in asked and "/nowhere/lfw-funneled.tgz" in " ".join(asked)


def test_wrong_checksum_leaves_nothing(tmp_path, server):
    address, folder, _ = server
    (folder / "lfw-funneled.tgz").write_bytes(b"not the published bytes")
    with pytest.raises(InputError, match="wrong checksum, not sha256:b47c8422"):
        fetch.fetch("lfw", tmp_path / "root", [address])
    assert not (tmp_path / "root").exists()


def test_network_failure_lists_the_addresses(tmp_path, server, monkeypatch, capsys):
    address, _, _ = server
    closed = "http://127.0.0.1:9/"  # nothing listens there
    root = str(tmp_path / "root")
    assert main(["fetch", "helen", "--data", root, "--url", address, closed]) == 2
    error = capsys.readouterr().err
    assert f"{address}{HELEN}.zip (HTTP status 404)" in error
    assert f"{closed}{HELEN}.zip (ConnectionError)" in error
    assert "--url" in error and error.count("\n") == 1


def test_without_a_published_checksum_the_first_copy_is_recorded(tmp_path, server, capsys):
    address, folder, _ = server
    root, path = tmp_path / "root", tmp_path / f"root/helen/{HELEN}.zip"
    (folder / f"{HELEN}.zip").write_bytes(b"<html>sorry, moved</html>")
    with pytest.raises(InputError, match="not a .zip file"):
        fetch.fetch("helen", root, [address])
    assert not path.exists()
    place(folder.parent / "source", helen_files())
    content = (folder.parent / f"source/helen/{HELEN}.zip").read_bytes()
    (folder / f"{HELEN}.zip").write_bytes(content)
    assert fetch.fetch("helen", root, [address]) == [path]
    digest = hashlib.sha256(content).hexdigest()
    assert digest in (told := capsys.readouterr().out) and "No checksum is published" in told
    assert path.with_name(path.name + ".sha256").read_text() == f"{digest}  {path.name}\n"
    fetch.fetch("helen", root, [address])
    assert capsys.readouterr().out == ""
    record = path.with_name(path.name + ".sha256")
    record.write_text(digest[:20])  # half-written: recorded anew
    fetch.fetch("helen", root, [address])
    assert record.read_text() == f"{digest}  {path.name}\n"
    path.write_bytes(content + b"x")
    with pytest.raises(InputError, match="its checksum is not"):
        fetch.fetch("helen", root, [address])
    path.unlink()
    (folder / f"{HELEN}.zip").write_bytes(content + b"x")
    with pytest.raises(InputError, match="wrong checksum"):
        fetch.fetch("helen", root, [address])


def test_addresses_that_fit_nothing(tmp_path):
    with pytest.raises(InputError, match="fits no archive"):
        fetch.fetch("lfw", tmp_path, ["http://127.0.0.1:9/other.tgz"])
    with pytest.raises(InputError, match="need no download"):
        fetch.fetch("lfw", "synthetic")
    with pytest.raises(InputError, match="unknown data set"):
        fetch.fetch("celeba", tmp_path)
