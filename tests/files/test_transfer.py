"""What servers and networks do wrong, with wget and without: what is said, what is tried again, what is left."""

import email.utils
import gzip
import os
import re
import shutil
import socket
import stat
import time

import pytest
from conftest import contents
from misbehaving_server import (
    answer,
    chunks,
    cut,
    endless,
    gzipped,
    plays,
    reset,
    stall,
    without_length,
)

from bicoder.errors import DownloadError
from bicoder.files.cache import cached_file

CONTENT = b"\x93NUMPY" + os.urandom(300_000)
NAME = "mnist_bw.npy"
RECORD = f".{NAME}.json"

pytestmark = pytest.mark.usefixtures("no_download_settings")


def fetched(server, folder):
    """What the file holds that is fetched from a server; nothing else is left but its record."""
    path = cached_file(NAME, f"{server.url}/{NAME}", folder)
    assert contents(folder).keys() == {NAME, RECORD}
    return path.read_bytes()


# ---- Addresses and connections


@pytest.mark.fault(1)
def test_an_unknown_host_says_where_the_file_is_expected(tmp_path, tool, fails, monkeypatch):
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")
    said = fails("http://no-such-host.invalid", tmp_path / "cache")
    assert re.search("resolve|not known", said)
    assert f"if you are offline: the file is expected at {tmp_path / 'cache' / NAME}" in said


@pytest.mark.fault(1)
def test_a_server_that_is_not_there(tmp_path, tool, fails):
    with socket.socket() as taken:  # bound, but not listening: connections are refused
        taken.bind(("127.0.0.1", 0))
        said = fails(f"http://127.0.0.1:{taken.getsockname()[1]}", tmp_path / "cache")
    assert "refused" in said
    assert f"expected at {tmp_path / 'cache' / NAME}" in said
    assert said.count("trying again") == 2


@pytest.mark.fault(3)
@pytest.mark.parametrize(("status", "phrase"), [(404, "Not Found"), (410, "Gone"), (401, "Unauthorized")])
def test_what_is_not_there_is_not_asked_for_again(tmp_path, serve, tool, fails, status, phrase):
    server = serve(tmp_path, plays(answer(status, b"<html>sorry")))
    assert f"{server.url}/{NAME}: the server answered {status} {phrase}; check the address" in fails(
        server.url, tmp_path / "cache"
    )
    assert server.requests == [f"/{NAME}"]


@pytest.mark.fault(4)
@pytest.mark.parametrize("status", [500, 503])
def test_a_server_in_trouble_is_asked_again(tmp_path, serve, tool, capsys, status):
    server = serve(tmp_path, plays(answer(status), answer(status), answer(body=CONTENT)))
    assert fetched(server, tmp_path / "cache") == CONTENT
    assert len(server.requests) == 3
    said = capsys.readouterr().err
    assert f"answered {status}" in said
    assert "trying again in 0.01 s (2 of 3)" in said
    assert "trying again in 0.02 s (3 of 3)" in said


@pytest.mark.fault(4)
def test_a_server_that_stays_in_trouble(tmp_path, serve, tool, fails):
    server = serve(tmp_path, plays(answer(503)))
    assert "the server answered 503 Service Unavailable; check" in fails(server.url, tmp_path / "cache")
    assert len(server.requests) == 3


@pytest.mark.fault(5)
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_server_that_asks_to_wait_is_waited_for(tmp_path, serve, tool, capsys, form):
    wait = 1 if form == "seconds" else email.utils.formatdate(time.time() + 2, usegmt=True)
    server = serve(tmp_path, plays(answer(429, Retry_After=wait), answer(body=CONTENT)))
    start = time.monotonic()
    assert fetched(server, tmp_path / "cache") == CONTENT
    assert time.monotonic() - start >= 0.9
    assert re.search(
        r"answered 429 Too Many Requests; trying again in [\d.]+ s, as the server asks", capsys.readouterr().err
    )
    assert len(server.requests) == 2


@pytest.mark.fault(5)
def test_a_server_that_asks_to_wait_for_an_hour_is_not_waited_for(tmp_path, serve, tool, fails):
    server = serve(tmp_path, plays(answer(429, Retry_After=3600)))
    assert "429 Too Many Requests; it asks to wait 3,600 s, try again then" in fails(server.url, tmp_path / "cache")
    assert len(server.requests) == 1


@pytest.mark.fault(5)
def test_a_wait_that_is_no_time_is_ours(tmp_path, serve, tool):
    server = serve(tmp_path, plays(answer(429, Retry_After="soon"), answer(429), answer(body=CONTENT)))
    assert fetched(server, tmp_path / "cache") == CONTENT
    assert len(server.requests) == 3


@pytest.mark.fault(6)
def test_a_connection_that_breaks_is_tried_again_from_the_beginning(tmp_path, serve, tool, capsys):
    server = serve(tmp_path, plays(reset(CONTENT, 150_003), answer(body=CONTENT)))
    assert fetched(server, tmp_path / "cache") == CONTENT
    assert len(server.requests) == 2
    assert re.search(r"received [\d,]+ of 300,006 bytes: the connection broke", capsys.readouterr().err)


@pytest.mark.fault(6)
def test_a_connection_that_breaks_every_time(tmp_path, serve, tool, fails):
    server = serve(tmp_path, plays(reset(CONTENT, 150_003)))
    assert re.search(r"error: .*received [\d,]+ of 300,006 bytes: the conn", fails(server.url, tmp_path / "cache"))
    assert len(server.requests) == 3


@pytest.mark.fault(7)
@pytest.mark.parametrize("at", [None, 150_003])
def test_a_server_that_falls_silent(tmp_path, serve, tool, fails, at):
    server = serve(tmp_path, plays(stall(CONTENT, at)))
    start = time.monotonic()
    said = fails(server.url, tmp_path / "cache")
    assert 1.4 < time.monotonic() - start < 15
    assert re.search(
        r"error: .*timed out" if at is None else r"error: .*of 300,006 bytes.*gave nothing for 0.5 s", said
    )
    assert len(server.requests) == 3
    assert server.hung_up.wait(5)


@pytest.mark.fault(8)
@pytest.mark.parametrize("at", [0, 10, 300_005])
def test_fewer_bytes_than_announced(tmp_path, serve, tool, fails, at):
    server = serve(tmp_path, plays(cut(CONTENT, at)))
    assert f"received {at:,} of 300,006 bytes" in fails(server.url, tmp_path / "cache")
    assert len(server.requests) == 3


@pytest.mark.fault(131)
def test_more_bytes_than_announced_are_not_read(tmp_path, serve, tool):
    assert (
        fetched(serve(tmp_path, plays(answer(body=CONTENT, Content_Length=1000))), tmp_path / "cache") == CONTENT[:1000]
    )


@pytest.mark.fault(9)
def test_chunks_need_no_length(tmp_path, serve, tool):
    assert fetched(serve(tmp_path, plays(chunks(CONTENT))), tmp_path / "cache") == CONTENT


@pytest.mark.fault(9)
def test_chunks_that_end_too_early(tmp_path, serve, tool, fails):
    server = serve(tmp_path, plays(chunks(CONTENT, 100_000)))
    assert "received 100,000 bytes: the connection broke" in fails(server.url, tmp_path / "cache")
    assert len(server.requests) == 3


@pytest.mark.fault(9)
def test_a_body_whose_end_nothing_marks_has_no_record(tmp_path, serve, tool):
    """Nobody knows whether it is whole: a record would make a mistake of it that lasts."""
    path = cached_file(NAME, serve(tmp_path, plays(without_length(CONTENT))).url, tmp_path / "cache")
    assert contents(tmp_path / "cache") == {NAME: path.read_bytes()} == {NAME: CONTENT}


def test_a_length_that_is_no_number_is_none(tmp_path, serve, monkeypatch):
    """wget takes it for 0."""
    monkeypatch.setenv("PATH", str(tmp_path))
    server = serve(tmp_path, plays(answer(body=CONTENT, Content_Length="many")))
    assert cached_file(NAME, server.url, tmp_path / "cache").read_bytes() == CONTENT


@pytest.mark.fault(10)
@pytest.mark.parametrize("page", ["<!DOCTYPE html><html>Sign in</html>", "\ufeff\n<html>", "<!-- hi --><script>"])
def test_a_web_page_is_not_data(tmp_path, serve, tool, fails, page):
    server = serve(tmp_path, plays(answer(body=page.encode(), Content_Type="text/html")))
    assert re.search(r"expected data, received a web page; .*dl=1", fails(server.url, tmp_path / "cache"))
    assert len(server.requests) == 1


@pytest.mark.parametrize("act", [answer(), without_length(b""), chunks(b"")])
def test_nothing_is_not_data(tmp_path, serve, tool, fails, act):
    assert "expected data, received nothing" in fails(serve(tmp_path, plays(act)).url, tmp_path / "cache")


@pytest.mark.fault(16)
def test_redirects_without_end_are_refused(tmp_path, serve, tool, fails):
    server = serve(tmp_path, plays(answer(302, Location="/again")))
    assert "over 10 redirects" in fails(server.url, tmp_path / "cache")
    assert len(server.requests) == 11


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(tmp_path, serve, tool, status):
    there = serve(tmp_path, plays(answer(302, b"this way", Location="b?c=d&e=%2Ff"), answer(body=CONTENT)))
    here = serve(tmp_path, plays(answer(status, Location=f"{there.url}/a/")))
    assert fetched(here, tmp_path / "cache") == CONTENT
    assert there.requests == ["/a/", "/a/b?c=d&e=%2Ff"]


@pytest.mark.parametrize("status", [300, 304, 206, 416])
def test_any_other_answer_is_an_error(tmp_path, serve, tool, fails, status):
    server = serve(tmp_path, plays(answer(status, CONTENT)))
    assert f"the server answered {status}" in fails(server.url, tmp_path / "cache")
    assert len(server.requests) == 1


@pytest.mark.fault(16, 27)
@pytest.mark.parametrize("scheme", ["ftp", "file"])
def test_a_redirect_to_another_scheme_is_refused(tmp_path, serve, tool, fails, scheme):
    (tmp_path / "secret").write_bytes(CONTENT)
    server = serve(tmp_path, plays(answer(302, Location=f"{scheme}://127.0.0.1{tmp_path}/secret")))
    said = fails(server.url, tmp_path / "cache")
    assert re.search(rf"redirects to {scheme}://.*, expected an address that begins with http:// or https://; re", said)
    assert len(server.requests) == 1


@pytest.mark.fault(192)
def test_no_answer_in_http(tmp_path, serve, tool, fails):
    server = serve(tmp_path, plays(lambda handler: handler.wfile.write(b"220 ready\r\n" * 20_000)))
    assert re.search("received something else|BadStatusLine", fails(server.url, tmp_path / "cache"))


@pytest.mark.fault(189)
@pytest.mark.parametrize("url", ["http://[not-an-address/x", "http://", "http:///x", "https://"])
def test_an_address_that_is_none(tmp_path, tool, url):
    with pytest.raises(DownloadError, match=re.escape(url)) as caught:
        cached_file(NAME, url, tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert contents(tmp_path / "cache") == {}


@pytest.mark.fault(193)
def test_a_password_is_not_shown(tmp_path, serve, tool, fails):
    server = serve(tmp_path, plays(answer(404)))
    assert "secret" not in fails(server.url.replace("http://", "http://me:secret@"), tmp_path / "cache")
    assert server.requests == [f"/{NAME}"]


# ---- What is asked for


@pytest.mark.fault(13)
def test_nothing_is_resumed_so_nothing_is_appended(tmp_path, serve, tool):
    """However often it breaks off, each request is for the whole file, and the file is one whole answer."""
    server = serve(tmp_path, plays(reset(CONTENT, 150_003), cut(CONTENT, 200_000), answer(body=CONTENT)))
    assert fetched(server, tmp_path / "cache") == CONTENT
    assert len(server.headers) == 3
    assert not any("Range" in headers or "If-Range" in headers for headers in server.headers)


@pytest.mark.fault(15)
def test_a_file_that_changes_between_two_tries_is_not_mixed(tmp_path, serve, tool):
    new = b"\x93NUMPY" + bytes(300_000)
    server = serve(tmp_path, plays(reset(CONTENT, 150_003, ETag='"a"'), answer(body=new, ETag='"b"')))
    assert fetched(server, tmp_path / "cache") == new


def test_settings_of_wget_do_not_count(tmp_path, serve, monkeypatch):
    if not shutil.which("wget"):
        pytest.skip("needs wget")
    (tmp_path / "wgetrc").write_text("header = Range: bytes=5-\noutput_document = elsewhere\nsave_headers = on\n")
    monkeypatch.setenv("WGETRC", str(tmp_path / "wgetrc"))
    assert fetched(serve(tmp_path, plays(answer(body=CONTENT))), tmp_path / "cache") == CONTENT


def test_a_proxy_of_the_environment_is_asked(tmp_path, serve, tool, monkeypatch):
    proxy = serve(tmp_path, plays(answer(body=CONTENT)))
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", proxy.url)
    cached_file(NAME, "http://data.invalid/x", tmp_path / "cache")
    assert proxy.requests == ["http://data.invalid/x"]


@pytest.mark.parametrize("said", ["GNU Wget2 2.1.0 - multithreaded", "BusyBox v1.35.0"])
def test_another_wget_is_none(tmp_path, serve, monkeypatch, said):
    """wget2 and BusyBox have other options."""
    script = tmp_path / "bin" / "wget"
    script.parent.mkdir()
    script.write_text(f"#!/bin/sh\necho '{said}'\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    server = serve(tmp_path, plays(answer(body=CONTENT)))
    assert fetched(server, tmp_path / "cache") == CONTENT
    assert server.headers[0]["User-Agent"].startswith("python-requests")


# ---- Compression


@pytest.mark.fault(18)
@pytest.mark.parametrize("members", [1, 3])
def test_a_compressed_answer_is_unpacked(tmp_path, serve, tool, members):
    server = serve(tmp_path, plays(gzipped(CONTENT, members=members)))
    assert fetched(server, tmp_path / "cache") == CONTENT
    assert server.headers[0]["Accept-Encoding"] == "identity"


@pytest.mark.fault(18)
def test_the_hash_is_that_of_the_unpacked_file(tmp_path, serve, tool, fails):
    """So the same file is good from a server that compresses and from one that does not."""
    assert fetched(serve(tmp_path, plays(gzipped(CONTENT))), tmp_path / "cache") == CONTENT
    path = tmp_path / "cache" / NAME
    path.write_bytes(b"changed")
    cached_file(NAME, serve(tmp_path, plays(answer(body=CONTENT))).url, tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    path.write_bytes(b"changed")
    said = fails(serve(tmp_path, plays(gzipped(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])))).url, tmp_path / "cache")
    assert "expected SHA-256" in said


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    ("act", "words"),
    [
        (gzipped(CONTENT, -20), "the gzip ended too early"),
        (answer(body=gzip.compress(CONTENT)[:-3] + b"???", Content_Encoding="gzip"), "damaged gzip"),
        (answer(body=CONTENT, Content_Encoding="gzip"), "damaged gzip"),
        (answer(body=CONTENT, Content_Encoding="br"), "expected the file as it is, .* received br"),
    ],
    ids=["truncated", "damaged", "none", "br"],
)
def test_a_compressed_answer_that_cannot_be_unpacked(tmp_path, serve, tool, fails, act, words):
    assert re.search(words, fails(serve(tmp_path, plays(act)).url, tmp_path / "cache"))


def test_a_file_that_is_a_gzip_stays_one(tmp_path, serve, tool):
    packed = gzip.compress(CONTENT)
    assert fetched(serve(tmp_path, plays(answer(body=packed))), tmp_path / "cache") == packed


# ---- Bodies that are too large, and too slow


@pytest.mark.fault(131)
@pytest.mark.parametrize(
    "act",
    [
        answer(body=CONTENT),
        answer(body=CONTENT[:1000], Content_Length=10**10),
        endless(CONTENT),
        chunks(CONTENT),
        answer(body=gzip.compress(bytes(2**20)), Content_Encoding="gzip"),
    ],
    ids=["larger", "10 GB announced", "endless", "chunks", "gzip bomb"],
)
def test_a_file_that_is_larger_than_what_it_must_hold(tmp_path, serve, tool, act):
    server = serve(tmp_path, plays(act))
    with pytest.raises(DownloadError, match="expected at most 100,000 bytes"):
        cached_file(NAME, server.url, tmp_path / "cache", most=100_000)
    assert len(server.requests) == 1
    assert contents(tmp_path / "cache") == {}


@pytest.mark.fault(131)
def test_a_file_that_is_as_large_as_it_can_be(tmp_path, serve, tool):
    server = serve(tmp_path, plays(answer(body=CONTENT)))
    assert cached_file(NAME, server.url, tmp_path / "cache", most=len(CONTENT)).read_bytes() == CONTENT


@pytest.mark.fault(131)
def test_a_published_file_has_a_limit(tmp_path, serve, fails):
    """60,000 images of 784 pixels, eight bytes each, and a tenth."""
    server = serve(tmp_path, plays(answer(body=CONTENT, Content_Length=10**10)))
    assert "expected at most 413,952,000 bytes" in fails(server.url, tmp_path / "cache")
    assert len(server.requests) == 1


@pytest.mark.fault(148)
def test_a_body_that_trickles(tmp_path, serve, tool, monkeypatch):
    monkeypatch.setattr("bicoder.files.transfer.WINDOW", 0.3)
    server = serve(tmp_path, plays(endless(b"x", pause=0.05, Content_Length=300_006)))
    with pytest.raises(DownloadError, match="bytes a second, expected at least 1,000"):
        cached_file(NAME, server.url, tmp_path / "cache")
    assert len(server.requests) == 3
    assert contents(tmp_path / "cache") == {}
