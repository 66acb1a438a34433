"""The cache: where files live, where they come from, and what is refused before anything is asked for."""

import os
import threading

import pytest
from conftest import QuietHandler, contents
from misbehaving_server import answer, halves, plays

from bicoder.errors import DataError, DownloadError
from bicoder.files.cache import cached_file, data_folder, fetch

CONTENT = b"\x93NUMPY" + os.urandom(300_000)
NAME = "mnist_bw.npy"
RECORD = f".{NAME}.json"

pytestmark = pytest.mark.usefixtures("no_download_settings")


@pytest.fixture
def publisher(tmp_path):
    """A folder that a server publishes, with one file in it."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / NAME).write_bytes(CONTENT)
    return folder


class Agents(QuietHandler):
    """Remembers who asked."""

    agents = []

    def do_GET(self):  # noqa: N802 - the name that http.server asks for
        self.agents.append(self.headers["User-Agent"])
        super().do_GET()


# ---- What works


def test_a_file_is_fetched_whole_and_nothing_else_is_left(tmp_path, publisher, serve, tool, capsys):
    server = serve(publisher, Agents)
    path = cached_file(NAME, f"{server.url}/{NAME}?rlkey=a&dl=1", tmp_path / "new" / "cache")
    assert path == tmp_path / "new" / "cache" / NAME
    assert path.read_bytes() == CONTENT
    assert contents(path.parent).keys() == {NAME, RECORD}
    assert server.requests == [f"/{NAME}?rlkey=a&dl=1"]
    assert Agents.agents[-1].lower().startswith("wget" if tool == "wget" else "python-requests")
    said = capsys.readouterr()
    host = server.url.removeprefix("http://")
    assert (said.out, said.err) == ("", f"Fetching {NAME} from {host} into {path.parent}\n")


@pytest.mark.fault(2)
def test_the_second_time_there_is_no_request(tmp_path, publisher, serve):
    server = serve(publisher)
    for _ in range(2):
        cached_file(NAME, f"{server.url}/{NAME}", tmp_path / "cache")
    assert server.requests == [f"/{NAME}"]


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


def test_after_a_failure_the_next_run_succeeds(tmp_path, publisher, serve, tool, fails):
    fails(serve(tmp_path, plays(answer(404))).url, tmp_path / "cache")
    assert cached_file(NAME, f"{serve(publisher).url}/{NAME}", tmp_path / "cache").read_bytes() == CONTENT


# ---- Names and addresses


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    "name", ["../evil", "a/b", "/etc/evil", "..", ".", "", "a\\b", "..\\evil", "C:evil", "evil\0", "evil/"]
)
def test_a_name_that_is_no_name_of_a_file_is_refused(tmp_path, publisher, serve, name):
    server = serve(publisher)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DownloadError, match="expected the name of a file, without a folder, received ") as caught:
        cached_file(name, f"{server.url}/{NAME}", tmp_path / "cache")
    assert repr(name) in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert server.requests == []


@pytest.mark.fault(26)
def test_names_in_addresses_and_headers_do_not_count(tmp_path, serve, tool):
    evil = {"Content_Disposition": "attachment; filename=../../evil", "Location": "/a/..%2f..%2fevil"}
    server = serve(tmp_path, plays(answer(302, **evil), answer(body=CONTENT, **evil)))
    cached_file(NAME, f"{server.url}/..%2f..%2fevil?name=../evil", tmp_path / "a" / "b" / "cache")
    files = [path for path in tmp_path.rglob("*") if path.is_file() and "bin" not in path.parts]
    assert {path.relative_to(tmp_path).as_posix() for path in files} == {f"a/b/cache/{NAME}", f"a/b/cache/{RECORD}"}


@pytest.mark.fault(27)
@pytest.mark.parametrize("scheme", ["file", "ftp", "data", "FILE", ""])
def test_other_schemes_are_refused_before_anything_is_touched(tmp_path, publisher, fails, scheme):
    mirror = f"{scheme}://{publisher}" if scheme else str(publisher)
    said = fails(mirror, tmp_path / "cache")
    assert f"error: {mirror}/{NAME}: expected an address that begins with http:// or https://" in said
    assert not (tmp_path / "cache").exists()


def test_a_mirror_must_be_an_address_too(tmp_path, publisher, serve):
    server = serve(publisher)
    with pytest.raises(DownloadError, match="expected an address"):
        cached_file(NAME, f"{server.url}/{NAME}", tmp_path / "cache", mirror=str(publisher))
    assert server.requests == []


@pytest.mark.fault(188)
def test_an_address_that_looks_like_an_option(tmp_path):
    for url in ("--output-document=/dev/null", "-i/etc/passwd"):
        with pytest.raises(DownloadError, match="expected an address"):
            cached_file(NAME, url, tmp_path / "cache")


# ---- The folder


def test_without_permission_to_download_the_path_is_named(tmp_path, publisher, serve):
    server = serve(publisher)
    with pytest.raises(DataError, match="downloading is switched off") as caught:
        cached_file(NAME, f"{server.url}/{NAME}", tmp_path / "cache", download=False)
    assert str(tmp_path / "cache" / NAME) in str(caught.value)
    assert caught.value.exit_code == 3
    assert server.requests == []
    assert not (tmp_path / "cache").exists()


@pytest.mark.fault(20)
@pytest.mark.parametrize("below", [".", "sub/folder"])
def test_a_file_where_the_folder_should_be(tmp_path, publisher, serve, fails, below):
    (tmp_path / "cache").write_text("mine")
    server = serve(publisher)
    path = tmp_path / "cache" / below / NAME
    said = fails(server.url, tmp_path / "cache" / below)
    assert f"error: {path}: cannot be written: " in said
    assert "--data_dir or $BICODER_DATA moves it" in said
    assert (tmp_path / "cache").read_text() == "mine"
    assert server.requests == []


@pytest.mark.fault(20)
def test_a_folder_that_is_read_only(tmp_path, publisher, serve, fails):
    (tmp_path / "cache").mkdir(mode=0o500)
    if os.access(tmp_path / "cache", os.W_OK):
        pytest.skip("the superuser may write everywhere; see test_a_disk_that_is_read_only")
    said = fails(serve(publisher).url, tmp_path / "cache")
    assert "cannot be written: Permission denied; --data_dir or $BICODER_DATA moves it" in said


@pytest.mark.fault(190)
def test_a_folder_where_the_file_should_be(tmp_path, publisher, serve):
    (tmp_path / NAME / "mine").mkdir(parents=True)
    server = serve(publisher)
    with pytest.raises(DownloadError, match="cannot be written: expected a file, received a folder"):
        cached_file(NAME, f"{server.url}/{NAME}", tmp_path)
    assert contents(tmp_path).keys() == {NAME, "published"}
    assert contents(tmp_path / NAME).keys() == {"mine"}
    assert server.requests == []


@pytest.mark.parametrize("download", [True, False])
def test_a_folder_whose_name_is_too_long(tmp_path, download):
    with pytest.raises(DataError, match=r"cannot be read: .*--data_dir or \$BICODER_DATA moves it"):
        cached_file(NAME, "http://127.0.0.1:1/x", tmp_path / ("x" * 300), download=download)


def test_fetch_leaves_a_file_that_is_there(tmp_path, publisher, serve):
    (tmp_path / NAME).write_bytes(b"of another process")
    server = serve(publisher)
    fetch(f"{server.url}/{NAME}", tmp_path / NAME)
    assert (tmp_path / NAME).read_bytes() == b"of another process"
    assert server.requests == []


def test_fetch_leaves_a_file_that_came_in_the_meantime(tmp_path, serve, tool):
    """As one that the user has put there by hand while it was being fetched."""
    event = threading.Event()
    server, cache = serve(tmp_path, plays(halves(CONTENT, event))), tmp_path / "cache"

    def put():
        while not server.requests:
            event.wait(0.01)
        (cache / NAME).write_bytes(b"mine")
        event.set()

    thread = threading.Thread(target=put)
    thread.start()
    assert cached_file(NAME, server.url, cache).read_bytes() == b"mine"
    thread.join()
    assert contents(cache).keys() == {NAME}
