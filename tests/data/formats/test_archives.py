"""What a file is, by its bytes, and its content out of a zip or a gzip."""

import bz2
import gzip
import io
import lzma
import tracemalloc
import zipfile
import zlib

import pytest

from bicoder.data.formats.archives import kind, kind_of_file, open_content, read_exactly
from bicoder.errors import DataError

CONTENT = b"\x93NUMPY" + bytes(range(256)) * 3


def zipped(members, method=zipfile.ZIP_DEFLATED):
    """A zip archive as bytes, from name -> content."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


PACKS = {
    "gzip": gzip.compress,
    "stored": lambda content: zipped({"x/a.npy": content}, zipfile.ZIP_STORED),
    "deflated": lambda content: zipped({"x/a.npy": content}, zipfile.ZIP_DEFLATED),
}


def content_of(path, content):
    """What `open_content` gives for a file with this content."""
    path.write_bytes(content)
    with open_content(path) as stream:
        return stream.read()


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", "empty"),
        (b"\x93NUMPY\x01\x00", "npy"),
        (zipped({"a": b"a"}), "zip"),
        (zipped({}), "zip"),
        (gzip.compress(b"a"), "gzip"),
        (b"\0\0\x08\x03\0\0\xea\x60", "idx"),
        (b"\0\0\x0e\x01", "idx"),
        (b"\0\0\x0a\x03", "other"),
        (b"\0\0\x08\x00", "other"),
        (b"\0\x01\x08\x03", "other"),
        (b"\0\0\x08", "other"),
        (b"<!DOCTYPE html><title>Dropbox</title>", "html"),
        (b"\xef\xbb\xbf\r\n  <HTML lang=en>", "html"),
        (b"<?xml version='1.0'?>", "html"),
        (b"\x80\x05\x95", "other"),
        (b"\x93NUMP", "other"),
        (b"PK", "other"),
        (b"a.npy".ljust(257, b"\0") + b"ustar\x0000", "tar"),
    ],
    ids=lambda value: value if isinstance(value, str) else "head",  # a gzip holds the time: no two workers agree on it
)
def test_kind_goes_by_the_first_bytes(head, expected):
    assert kind(head) == expected


def test_kind_of_a_file_does_not_go_by_its_name(tmp_path):
    path = tmp_path / "really.npy"
    path.write_bytes(gzip.compress(CONTENT))
    assert kind_of_file(path) == "gzip"


def test_a_path_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            kind_of_file(path)


@pytest.mark.parametrize("name", ["a.npy", "a.zip", "a.gz", "é ü.pkl"])
@pytest.mark.parametrize("pack", PACKS)
def test_the_content_comes_out_whatever_holds_it(tmp_path, name, pack):
    assert content_of(tmp_path / name, PACKS[pack](CONTENT)) == CONTENT
    assert content_of(tmp_path / name, CONTENT) == CONTENT


def test_the_stream_can_be_read_twice(tmp_path):
    path = tmp_path / "a"
    for pack in (bytes, gzip.compress, lambda content: zipped({"a": content})):
        path.write_bytes(pack(CONTENT))
        with open_content(path) as stream:
            assert stream.read(512) == CONTENT[:512]
            stream.seek(0)
            assert stream.read() == CONTENT
            stream.seek(5)
            assert stream.tell() == 5
            stream.seek(3, io.SEEK_CUR)
            assert stream.read(4) == CONTENT[8:12]
            stream.seek(len(CONTENT) + 9)
            assert stream.read(1) == b""


def test_what_macos_adds_and_folders_do_not_count(tmp_path):
    members = {"data/": b"", "data/a.npy": CONTENT, "__MACOSX/data/._a.npy": b"resource fork"}
    assert content_of(tmp_path / "a.zip", zipped(members)) == CONTENT


@pytest.mark.parametrize(
    ("members", "said"), [({}, "received 0: nothing"), ({"a.npy": b"1", "b.npy": b"2"}, r"received 2: a\.npy, b\.npy")]
)
def test_a_zip_must_hold_one_file(tmp_path, members, said):
    with pytest.raises(DataError, match=said):
        content_of(tmp_path / "a.zip", zipped(members))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "an empty file; delete it"),
        (b"<!doctype html><html>Sign in</html>", "a web page; delete it and fetch it again .with dl=1"),
    ],
)
@pytest.mark.fault(29)
def test_no_data_at_all(tmp_path, content, said):
    with pytest.raises(DataError, match=said):
        content_of(tmp_path / "mnist_bw.npy", content)


@pytest.mark.fault(60)
@pytest.mark.parametrize("pack", PACKS)
def test_a_truncated_archive_is_an_error_at_every_length(tmp_path, pack):
    whole = PACKS[pack](CONTENT)
    for length in range(4, len(whole)):
        with pytest.raises(DataError, match=r"a\.bin"):
            content_of(tmp_path / "a.bin", whole[:length])


@pytest.mark.fault(60)
@pytest.mark.parametrize("pack", PACKS)
def test_a_flipped_byte_never_changes_the_content_unseen(tmp_path, pack):
    def content_or_none(place):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        try:
            return content_of(tmp_path / "a.bin", damaged)
        except DataError:
            return None

    whole = PACKS[pack](CONTENT)
    found = [content_or_none(place) for place in range(4, len(whole))]
    assert set(found) == {CONTENT, None}  # there are bytes that do not matter, such as those of the date
    assert found.count(None) > len(whole) // 4


@pytest.mark.parametrize("error", [DataError("of the reader"), KeyboardInterrupt()])
def test_errors_that_are_no_damage_pass_through(tmp_path, error):
    (tmp_path / "a").write_bytes(CONTENT)
    with pytest.raises(type(error)) as caught, open_content(tmp_path / "a"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("error", [zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, IndexError])
def test_whatever_a_decompressor_raises_is_a_data_error(tmp_path, error):
    (tmp_path / "a").write_bytes(gzip.compress(CONTENT))
    with pytest.raises(DataError, match="damaged gzip archive: broken"), open_content(tmp_path / "a"):
        raise error("broken")


def test_memory_that_is_not_there_is_no_damage(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    with pytest.raises(DataError, match="a: takes more memory than there is"), open_content(tmp_path / "a"):
        raise MemoryError


def test_a_compression_that_is_not_known_stays_as_it_is(tmp_path):
    whole = bz2.compress(CONTENT)
    assert content_of(tmp_path / "a.bz2", whole) == whole


def test_read_exactly_gives_what_was_asked_for():
    stream = io.BytesIO(CONTENT)
    assert read_exactly(stream, 10, "x") == CONTENT[:10]
    assert read_exactly(stream, 0, "x") == b""
    assert read_exactly(stream, len(CONTENT) - 10, "x") == CONTENT[10:]


def test_read_exactly_allocates_what_is_there_not_what_is_claimed():
    tracemalloc.start()
    with pytest.raises(DataError, match="truncated: expected 1,125,899,906,842,624 bytes more, received 774"):
        read_exactly(io.BytesIO(CONTENT), 2**50, "x")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
