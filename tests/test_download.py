"""Files from a web server on loopback into the cache: whole or not at all, with wget and without."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import QuietHandler

import bicoder
from bicoder.download import cached_file, data_folder, fetch
from bicoder.errors import DataError, DownloadError

CONTENT = b"\x93NUMPY" + os.urandom(300_000)
NAME = "mnist_bw.npy"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    """Whatever the user has set does not count here."""
    for name in ("BICODER_DATA", "BICODER_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture(params=["wget", "requests"])
def tool(request, monkeypatch):
    """Run a test with wget, and again on a machine without it."""
    if request.param == "requests":
        monkeypatch.setattr(shutil, "which", lambda name: None)
    elif not shutil.which("wget"):
        pytest.skip("needs wget")
    return request.param


@pytest.fixture
def publisher(tmp_path):
    """A folder that a server publishes, with one file in it."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    return folder


def left_in(folder):
    """What is in a folder, less the lock."""
    return sorted(p.name for p in folder.iterdir() if p.name != f".{NAME}.lock") if folder.exists() else []


class Agents(QuietHandler):
    """Remembers who asked."""

    agents = []

    def do_GET(self):  # noqa: N802 - the name that http.server asks for
        self.agents.append(self.headers["User-Agent"])
        super().do_GET()


class Slow(QuietHandler):
    """Lets others come in the meantime."""

    def do_GET(self):  # noqa: N802 - the name that http.server asks for
        time.sleep(0.5)
        super().do_GET()


class Answer(QuietHandler):
    """Answers with `status`, `headers` and `body`."""

    status, headers_out, body = 200, {}, b""

    def do_GET(self):  # noqa: N802 - the name that http.server asks for
        self.server.requests.append(self.path)
        self.send_response(self.status)
        for name, value in self.headers_out.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.body)


def answer(status=200, body=b"", **headers):
    """A handler that always answers the same."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return type("Answer", (Answer,), {"status": status, "body": body, "headers_out": headers})


class CutOff(QuietHandler):
    """Announces chunks, sends one, and goes away."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):  # noqa: N802 - the name that http.server asks for
        self.server.requests.append(self.path)
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"5\r\nabcde\r\n")
        self.close_connection = True


# ---- What works


def test_a_file_is_fetched_whole_and_nothing_else_is_left(tmp_path, publisher, serve, tool):
    server = serve(publisher, Agents)
    path = cached_file(NAME, f"{server.url}/{NAME}?rlkey=a&dl=1", tmp_path / "new" / "cache")
    assert path == tmp_path / "new" / "cache" / NAME
    assert path.read_bytes() == CONTENT
    assert left_in(path.parent) == [NAME]
    assert server.requests == [f"/{NAME}?rlkey=a&dl=1"]
    assert Agents.agents[-1].lower().startswith("wget" if tool == "wget" else "python-requests")


def test_a_redirect_is_followed(tmp_path, publisher, serve, tool):
    there = serve(publisher)
    here = serve(publisher, answer(302, Location=f"{there.url}/{NAME}"))
    assert cached_file(NAME, here.url + "/elsewhere", tmp_path).read_bytes() == CONTENT


def test_a_body_without_a_length(tmp_path, serve, tool):
    server = serve(tmp_path, answer(body=CONTENT))
    assert cached_file(NAME, server.url + "/x", tmp_path / "cache").read_bytes() == CONTENT


def test_a_file_that_is_there_is_used_without_a_request(tmp_path, publisher, serve):
    server = serve(publisher)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / NAME).write_bytes(b"mine")
    for download in (True, False):
        assert cached_file(NAME, f"{server.url}/{NAME}", cache, server.url, download).read_bytes() == b"mine"
    assert server.requests == []
    assert left_in(cache) == [NAME]


def test_the_second_time_there_is_no_request(tmp_path, publisher, serve):
    server = serve(publisher)
    for _ in range(2):
        cached_file(NAME, f"{server.url}/{NAME}", tmp_path / "cache")
    assert server.requests == [f"/{NAME}"]


def test_what_an_interrupted_run_left_does_no_harm(tmp_path, publisher, serve, tool):
    (tmp_path / f".{NAME}.999-abcdef01.part").write_bytes(b"half of it")
    (tmp_path / f".{NAME}.lock").write_bytes(b"")
    assert cached_file(NAME, f"{serve(publisher).url}/{NAME}", tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("way", ["argument", "environment", "both"])
def test_a_mirror_is_asked_instead_of_the_publisher(tmp_path, publisher, serve, monkeypatch, way, slash):
    server, nobody = serve(publisher.parent), "http://127.0.0.1:1"
    mirror = f"{server.url}/{publisher.name}{slash}"
    if way != "argument":
        monkeypatch.setenv("BICODER_MIRROR", mirror if way == "environment" else nobody)
    path = cached_file(NAME, nobody + "/never", tmp_path / "cache", None if way == "environment" else mirror)
    assert path.read_bytes() == CONTENT
    assert server.requests == [f"/{publisher.name}/{NAME}"]


def test_where_the_files_live(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path in data_folder().parents
    assert "bicoder" in data_folder().parts
    monkeypatch.setenv("BICODER_DATA", str(tmp_path / "variable"))
    assert data_folder() == tmp_path / "variable"
    assert data_folder(tmp_path / "argument") == tmp_path / "argument"
    assert data_folder("~/argument") == tmp_path / "argument"


def test_the_variable_says_where_a_file_goes(tmp_path, publisher, serve, monkeypatch):
    monkeypatch.setenv("BICODER_DATA", str(tmp_path / "variable"))
    assert cached_file(NAME, f"{serve(publisher).url}/{NAME}") == tmp_path / "variable" / NAME


# ---- Several at once


def test_threads_that_fetch_the_same_file_make_one_request(tmp_path, publisher, serve, tool):
    server, found = serve(publisher, Slow), []

    def run():
        found.append(cached_file(NAME, f"{server.url}/{NAME}", tmp_path / "cache").read_bytes())

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 4
    assert len(server.requests) == 1
    assert left_in(tmp_path / "cache") == [NAME]


def test_processes_that_fetch_the_same_file_make_one_request(tmp_path, publisher, serve):
    server = serve(publisher, Slow)
    code = "import sys; from bicoder.download import cached_file; print(cached_file(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, NAME, f"{server.url}/{NAME}", str(tmp_path / "cache")]
    root = Path(bicoder.__file__).parents[1]
    processes = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert said == [str(tmp_path / "cache" / NAME)] * 3
    assert (tmp_path / "cache" / NAME).read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert left_in(tmp_path / "cache") == [NAME]


# ---- What does not work


FAULTS = {
    "404": (answer(404), r"(?i)404|answered with an error"),
    "410": (answer(410, b"gone"), r"(?i)410|answered with an error"),
    "500": (answer(500), r"(?i)500|answered with an error"),
    "a web page": (answer(body=b"<!DOCTYPE html><html>Sign in</html>"), r"received a web page.*dl=1"),
    "a web page with a BOM": (answer(body=b"\xef\xbb\xbf\n<html>"), "received a web page"),
    "an empty body": (answer(), "received nothing"),
    "an empty body of length 0": (answer(Content_Length="0"), "received nothing"),
    "a body that ends too early": (
        answer(body=CONTENT, Content_Length=str(len(CONTENT) + 1)),
        "network|Incomplete|received 300,006",
    ),
    "chunks that end too early": (CutOff, "network|ended prematurely|Connection broken"),
    "a redirect to itself": (answer(302, Location="/again"), "redirect"),
    "a redirect to a file": (answer(302, Location="file:///etc/passwd"), "nsupported scheme|No connection adapters"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_fetch_leaves_nothing(tmp_path, serve, tool, fault):
    handler, said = FAULTS[fault]
    server = serve(tmp_path, handler)
    url = f"{server.url}/{NAME}"
    with pytest.raises(DownloadError, match=said) as caught:
        cached_file(NAME, url, tmp_path / "cache")
    assert str(caught.value).startswith(url + ": ")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 4
    assert server.requests
    assert left_in(tmp_path / "cache") == []


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_not_asked_for_again(tmp_path, serve, tool, status):
    server = serve(tmp_path, answer(status))
    with pytest.raises(DownloadError):
        cached_file(NAME, f"{server.url}/{NAME}", tmp_path / "cache")
    assert server.requests == [f"/{NAME}"]


def test_after_a_failure_the_next_run_succeeds(tmp_path, publisher, serve, tool):
    with pytest.raises(DownloadError):
        cached_file(NAME, serve(tmp_path, answer(404)).url + "/x", tmp_path / "cache")
    assert cached_file(NAME, f"{serve(publisher).url}/{NAME}", tmp_path / "cache").read_bytes() == CONTENT


def test_a_server_that_is_not_there(tmp_path, serve, tool):
    server = serve(tmp_path)
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match=r"(?i)refused.*check the address and the connection"):
        cached_file(NAME, f"{server.url}/{NAME}", tmp_path / "cache")
    assert left_in(tmp_path / "cache") == []


@pytest.mark.parametrize("scheme", ["file", "ftp", "data", "FILE", ""])
def test_other_schemes_are_refused_before_anything_is_touched(tmp_path, publisher, tool, scheme):
    url = f"{scheme}://{publisher / NAME}" if scheme else str(publisher / NAME)
    with pytest.raises(DownloadError, match="expected an address that begins with http:// or https://") as caught:
        cached_file(NAME, url, tmp_path / "cache")
    assert url in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_a_mirror_must_be_an_address_too(tmp_path, publisher, serve):
    server = serve(publisher)
    with pytest.raises(DownloadError, match="expected an address"):
        cached_file(NAME, f"{server.url}/{NAME}", tmp_path / "cache", mirror=str(publisher))
    assert server.requests == []


@pytest.mark.parametrize("url", ["http://[not-an-address/x", "http://", "http:///x", "https://"])
def test_an_address_that_is_none(tmp_path, tool, url):
    with pytest.raises(DownloadError, match=re.escape(url)):
        cached_file(NAME, url, tmp_path / "cache")
    assert left_in(tmp_path / "cache") == []


def test_an_address_that_looks_like_an_option(tmp_path, serve, tool):
    for url in ("--output-document=/dev/null", "-i/etc/passwd"):
        with pytest.raises(DownloadError, match="expected an address"):
            cached_file(NAME, url, tmp_path / "cache")


def test_a_length_that_is_no_number(tmp_path, serve, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    server = serve(tmp_path, answer(body=CONTENT, Content_Length="many"))
    assert cached_file(NAME, f"{server.url}/{NAME}", tmp_path / "cache").read_bytes() == CONTENT


def test_without_permission_to_download_the_path_is_named(tmp_path, publisher, serve):
    server = serve(publisher)
    with pytest.raises(DataError, match="downloading is switched off") as caught:
        cached_file(NAME, f"{server.url}/{NAME}", tmp_path / "cache", download=False)
    assert str(tmp_path / "cache" / NAME) in str(caught.value)
    assert caught.value.exit_code == 3
    assert server.requests == []
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("below", [".", "sub/folder"])
def test_a_file_where_the_folder_should_be(tmp_path, publisher, serve, tool, below):
    (tmp_path / "cache").write_text("mine")
    server = serve(publisher)
    with pytest.raises(DownloadError, match=r"cannot be written: .*--data_dir or \$BICODER_DATA moves it"):
        cached_file(NAME, f"{server.url}/{NAME}", tmp_path / "cache" / below)
    assert (tmp_path / "cache").read_text() == "mine"
    assert server.requests == []


def test_a_folder_where_the_file_should_be(tmp_path, publisher, serve, tool):
    (tmp_path / NAME / "mine").mkdir(parents=True)
    with pytest.raises(DownloadError, match="cannot be written"):
        cached_file(NAME, f"{serve(publisher).url}/{NAME}", tmp_path)
    assert left_in(tmp_path) == [NAME, "published"]
    assert left_in(tmp_path / NAME) == ["mine"]


def test_a_folder_that_is_read_only(tmp_path, publisher, serve, tool):
    (tmp_path / "cache").mkdir(mode=0o500)
    if os.access(tmp_path / "cache", os.W_OK):
        pytest.skip("the superuser may write everywhere")
    with pytest.raises(DownloadError, match=r"cannot be written: .*--data_dir or \$BICODER_DATA moves it"):
        cached_file(NAME, f"{serve(publisher).url}/{NAME}", tmp_path / "cache")


@pytest.mark.parametrize("download", [True, False])
def test_a_folder_whose_name_is_too_long(tmp_path, download):
    with pytest.raises(DataError, match=r"cannot be read: .*--data_dir or \$BICODER_DATA moves it"):
        cached_file(NAME, "http://127.0.0.1:1/x", tmp_path / ("x" * 300), download=download)


def test_fetch_leaves_a_file_that_came_in_the_meantime(tmp_path, publisher, serve):
    (tmp_path / NAME).write_bytes(b"of another process")
    server = serve(publisher)
    fetch(f"{server.url}/{NAME}", tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == b"of another process"
    assert server.requests == []
