"""What several test modules share: the real images, a web server on loopback, small data."""

import functools
import http.server
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


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
    """Function (folder, handler=QuietHandler) -> a running server on loopback, with `url` and `requests`."""
    servers = []

    def start(folder, handler=QuietHandler):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
        server.requests, server.url = [], f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def rng():
    return np.random.default_rng(0)
