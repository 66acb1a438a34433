"""What several test modules share: how tests run, the real images, a web server on loopback, small data."""

import contextlib
import functools
import gc
import http.server
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from bicoder import waiting

ROOT = Path(__file__).parent.parent

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# XLA compiles for seconds what a small model learns in none. Tests that are marked `xla` have it, as users do.
os.environ.setdefault("BICODER_XLA", "0")
# JAX compiles all that runs, for longer than small models learn: quickly, then, and what is slower at running.
if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
# A shell starts what runs in its background with Ctrl-C ignored; the programs under test would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Under nohup, a hang-up is ignored, and processes inherit that; what is caught they do not, and this one lives on.
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)


# On a busy machine anything may take seconds; what is said then is for the tests that are about it.
waiting.FIRST = 3600.0

# The collector finds nothing in what is imported, and takes seconds to see that, again and again.
gc.disable()


def pytest_collection_finish(session):
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """The environment of a test and of its fixtures: with XLA where the test is marked so."""
    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("xla"):
            patch.delenv("BICODER_XLA", raising=False)
        return (yield)


@pytest.fixture(scope="session")
def real_data():
    """The folder of real images that $BICODER_TEST_DATA names; tests that need it are skipped without it."""
    folder = os.environ.get("BICODER_TEST_DATA")
    if not folder:
        pytest.skip("needs the real images: set BICODER_TEST_DATA to the folder that holds mnist_bw.npy and the others")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def color_data(real_data, tmp_path_factory):
    """mnist_color, built small in its real format, by the script beside the real images; bare pickles."""
    return build_color(real_data, tmp_path_factory.mktemp("color"))


@pytest.fixture(scope="session")
def zipped_color_data(real_data, tmp_path_factory):
    """The same with each pickle inside a zip."""
    return build_color(real_data, tmp_path_factory.mktemp("zipped"), "--zip")


def build_color(real_data, folder, *options):
    command = [sys.executable, real_data / "make_mnist_color.py", folder, "--train", "1000", "--test", "300", *options]
    subprocess.run(command, check=True, capture_output=True)
    return folder


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder; remembers what was asked for."""

    def do_GET(self):
        self.server.requests.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    """Function (folder, handler=QuietHandler, certificate=None) -> a running server on loopback, with its `url`.

    `requests` are the paths it was asked for; handlers may note `headers`, and set `hung_up` when a client goes away.
    """
    servers = []

    def start(folder, handler=QuietHandler, certificate=None):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
        server.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"
        server.requests, server.headers, server.hung_up = [], [], threading.Event()
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda *args: None  # clients that refuse the certificate
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(params=["wget", "requests"])
def tool(request, tmp_path_factory, monkeypatch):
    """Run a test with wget, and again with a PATH on which there is none."""
    if request.param == "requests":
        monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("no-wget")))
    elif not shutil.which("wget"):
        pytest.skip("needs wget")
    return request.param


@pytest.fixture
def no_download_settings(monkeypatch):
    """Whatever the user has set does not count, and nobody waits for long."""
    for name in ("BICODER_DATA", "BICODER_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setattr("bicoder.files.cache.FIRST_WAIT", 0.01)
    monkeypatch.setattr("bicoder.files.transfer.TIMEOUT", 0.5)


@pytest.fixture
def fails(tmp_path, capsys):
    """Function (mirror, cache) -> what the program says that cannot fetch mnist_bw from there.

    It ends with 4 and one line, writes no run, and leaves in the cache what was there and nothing else.
    """
    from bicoder.cli import main as cli

    def run(mirror, cache):
        before = contents(cache)
        code = cli.main(
            ["--dset", "mnist_bw", "--mirror", mirror, "--data_dir", str(cache), "--run_dir", str(tmp_path / "no-run")]
        )
        said = capsys.readouterr().err
        assert code == 4
        assert [line for line in said.splitlines() if "error: " in line] == said.splitlines()[-1:]
        assert "Traceback" not in said
        assert contents(cache) == before
        assert not (tmp_path / "no-run").exists()
        return said

    return run


@contextlib.contextmanager
def largest_file(size):
    """A full disk, so to say: meanwhile no file becomes larger than so many bytes, not even one of root's."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def contents(folder):
    """File name -> content, for all that is in a folder, hidden or not."""
    return (
        {path.name: path.is_file() and path.read_bytes() for path in sorted(folder.iterdir())}
        if folder.is_dir()
        else {}
    )


@pytest.fixture
def rng():
    return np.random.default_rng(0)
