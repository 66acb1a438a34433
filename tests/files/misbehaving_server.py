"""What servers do wrong, each as an act: a function that answers one request. `plays` makes a handler of acts."""

import gzip
import socket
import struct
import time

from conftest import QuietHandler


class Player(QuietHandler):
    """Answers the n-th request with the n-th act, and every one after the last with the last."""

    protocol_version = "HTTP/1.1"
    acts = ()

    def do_GET(self):  # noqa: N802 - the name that http.server asks for
        act = self.acts[min(len(self.server.requests), len(self.acts) - 1)]
        self.server.requests.append(self.path)
        self.server.headers.append(self.headers)
        self.close_connection = True
        try:
            act(self)
        except ConnectionError:
            self.server.hung_up.set()

    def start(self, status=200, **headers):
        """Send the status and headers; an underscore in a name stands for a hyphen."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()


def plays(*acts):
    """A handler that plays these acts."""
    return type("Player", (Player,), {"acts": acts})


def answer(status=200, body=b"", **headers):
    """A whole answer, with its true length unless another is given."""

    def act(handler):
        handler.start(status, **{"Content_Length": len(body)} | headers)
        handler.wfile.write(body)

    return act


def without_length(body):
    """A body that ends where the connection ends."""

    def act(handler):
        handler.start()
        handler.wfile.write(body)

    return act


def cut(body, at, **headers):
    """Announce the body, send its first bytes, and close the connection."""

    def act(handler):
        handler.start(Content_Length=len(body), **headers)
        handler.wfile.write(body[:at])

    return act


def reset(body, at, **headers):
    """Announce the body, send its first bytes, and break the connection (RST)."""

    def act(handler):
        handler.start(Content_Length=len(body), **headers)
        handler.wfile.write(body[:at])
        time.sleep(0.1)  # what was sent is lost otherwise
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The descriptor itself: files that were made of the socket keep it open otherwise.
        handler.connection.shutdown(socket.SHUT_RD)
        handler.rfile.close()
        handler.connection.close()

    return act


def stall(body, at):
    """Announce the body, send its first bytes, then nothing until the client hangs up; not even headers at None."""

    def act(handler):
        if at is not None:
            handler.start(Content_Length=len(body))
            handler.wfile.write(body[:at])
        handler.connection.settimeout(60)
        handler.connection.recv(1)
        handler.server.hung_up.set()

    return act


def drip(body, seconds):
    """Send the body in fifty pieces over this time."""

    def act(handler):
        handler.start(Content_Length=len(body))
        step = len(body) // 50 + 1
        for i in range(0, len(body), step):
            handler.wfile.write(body[i : i + step])
            time.sleep(seconds / 50)

    return act


def halves(body, event):
    """Send the second half of the body when the event is set."""

    def act(handler):
        handler.start(Content_Length=len(body))
        handler.wfile.write(body[: len(body) // 2])
        event.wait(60)
        handler.wfile.write(body[len(body) // 2 :])

    return act


def chunks(body, at=None):
    """A chunked body; where `at` is given, it breaks off there, without the mark of its end."""

    def act(handler):
        handler.start(Transfer_Encoding="chunked")
        for i in range(0, len(body[:at]), 50_000):
            block = body[:at][i : i + 50_000]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(block), block))
        handler.wfile.write(b"0\r\n\r\n" if at is None else b"")

    return act


def gzipped(body, at=None, members=1):
    """The body with Content-Encoding: gzip, in one or several members; where `at` is given, it breaks off there."""
    step = -(-len(body) // members)
    packed = b"".join(gzip.compress(body[i : i + step]) for i in range(0, len(body), step))[:at]
    return answer(body=packed, Content_Encoding="gzip")


def for_range(with_range, without):
    """One act where the request asks for a range, another where it does not."""

    def act(handler):
        (with_range if handler.headers["Range"] else without)(handler)

    return act


def endless(block, times=10_000, pause=0.0, **headers):
    """A body whose end does not come: a block, again and again, until the client hangs up."""

    def act(handler):
        handler.start(**headers)
        for _ in range(times):
            handler.wfile.write(block)
            time.sleep(pause)

    return act
