"""Connections that are not secure are refused, and never replaced by one without encryption."""

import os
import re
import shutil
import stat
import subprocess

import pytest
from misbehaving_server import answer, plays

from bicoder.files.cache import cached_file

CONTENT = b"\x93NUMPY" + os.urandom(300_000)
NAME = "mnist_bw.npy"

pytestmark = pytest.mark.usefixtures("no_download_settings")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 that nobody has signed but itself."""
    if not shutil.which("openssl"):
        pytest.skip("needs the openssl command")
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    options = "-newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    places = ["-out", path, "-keyout", path.with_suffix(".key")]
    subprocess.run(["openssl", "req", "-x509", *options.split(), *places], check=True, capture_output=True)
    return path


@pytest.fixture
def trusted(certificate, tool, tmp_path, monkeypatch):
    """The same, made known to wget and to requests."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    if tool == "wget":
        script = tmp_path / "bin" / "wget"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\nexec {shutil.which("wget")} --ca-certificate={certificate} "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    return certificate


@pytest.mark.fault(17)
def test_a_certificate_that_nobody_signed_is_refused(tmp_path, serve, tool, fails, certificate):
    server = serve(tmp_path, plays(answer(body=CONTENT)), certificate)
    said = fails(server.url, tmp_path / "cache")
    assert re.search(r"error: https://.*certificate", said)
    assert "trying again" not in said
    assert server.requests == []


@pytest.mark.fault(17)
def test_a_certificate_that_is_good(tmp_path, serve, trusted):
    """What the tests around this one refuse is the certificate and the redirect, not every https."""
    there = serve(tmp_path, plays(answer(body=CONTENT)), trusted)
    here = serve(tmp_path, plays(answer(302, Location=there.url + "/x")))
    assert cached_file(NAME, here.url, tmp_path / "cache").read_bytes() == CONTENT


@pytest.mark.fault(16)
def test_a_redirect_from_https_to_http_is_refused(tmp_path, serve, trusted, fails):
    plain = serve(tmp_path, plays(answer(body=CONTENT)))
    secure = serve(tmp_path, plays(answer(302, Location=plain.url + "/x")), trusted)
    said = fails(secure.url, tmp_path / "cache")
    assert f"redirects to {plain.url}/x, expected an address that begins with https://; refused" in said
    assert (len(secure.requests), plain.requests) == (1, [])
