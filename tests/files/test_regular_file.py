"""Only regular files are opened: what else lies under a name is said, and nothing waits for it."""

import os
import socket
from pathlib import Path

import pytest

from bicoder.files import regular_file
from bicoder.files.regular_file import open_regular, read_regular


def fifo(path):
    os.mkfifo(path)


def bound_socket(path):
    with socket.socket(socket.AF_UNIX) as server:  # its entry stays when it is closed
        here = Path.cwd()
        os.chdir(path.parent)  # the way to a socket has 107 characters at most
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


def device(path):
    path.symlink_to("/dev/zero")


OTHERS = {"a folder": Path.mkdir, "a FIFO": fifo, "a socket": bound_socket, "a device": device}


def test_a_regular_file_is_read(tmp_path):
    path, link = tmp_path / "a", tmp_path / "link"
    path.write_bytes(b"0123456789\n\r\n")
    link.symlink_to(path)
    found = read_regular(path, 13), read_regular(str(path), 13, follow=False), read_regular(link, 99)
    assert set(found) == {b"0123456789\n\r\n"}
    with open_regular(path) as file:
        file.seek(4)
        assert file.read(3) == b"456"
        assert not os.get_inheritable(file.fileno())
    with pytest.raises(OSError, match="expected at most 12 bytes, received 13"):
        read_regular(path, 12)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "b")


@pytest.mark.fault(125)
@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, kind):
    OTHERS[kind](tmp_path / "a")
    for _ in range(300):  # nothing stays open
        with pytest.raises(OSError, match=f"expected a file, received {kind}") as caught:
            open_regular(tmp_path / "a")
    assert caught.value.filename == str(tmp_path / "a")
    assert len(os.listdir("/proc/self/fd")) < 300 if Path("/proc/self/fd").exists() else True


@pytest.mark.fault(125)
def test_a_file_that_becomes_a_fifo_while_it_is_opened(tmp_path, monkeypatch):
    """Between the look and the opening: nothing waits then either."""
    path = tmp_path / "a"
    path.write_bytes(b"")
    look = regular_file.check_regular

    def swapped(*arguments):
        found = look(*arguments)
        path.unlink()
        os.mkfifo(path)
        return found

    monkeypatch.setattr(regular_file, "check_regular", swapped)
    with pytest.raises(OSError, match="expected a file, received a FIFO"):
        open_regular(path)


def test_a_link_is_refused_where_that_is_asked_for(tmp_path):
    (tmp_path / "a").write_bytes(b"theirs")
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "nowhere").symlink_to("b")
    for name in ("link", "nowhere"):
        with pytest.raises(OSError, match="expected a file, received a symbolic link"):
            read_regular(tmp_path / name, 99, follow=False)
