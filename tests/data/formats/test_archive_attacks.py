"""Zip, gzip and tar files that somebody made to do harm: refused, within little memory, and nothing is written."""

import gzip
import io
import json
import os
import stat
import struct
import subprocess
import sys
import tarfile
import time
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from conftest import ROOT
from test_archives import CONTENT, zipped

from bicoder.data.formats.arrays import npz_names, read_array, read_npz
from bicoder.data.formats.pickles import read_views
from bicoder.errors import DataError

IMAGES = np.arange(24, dtype="uint8").reshape(2, 3, 4)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zip_of(*members, **keywords):
    """A zip of (ZipInfo or name, content) in this order; a name may come twice."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, **keywords) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return stream.getvalue()


def refused(path, content, words):
    """Whether no reader takes a file with this content, all say these words, and only the file is there afterwards."""
    path.write_bytes(content)
    for read in (read_array, lambda path: read_npz(path, ["a"]), lambda path: read_views(path, ["m0"])):
        with pytest.raises(DataError, match=words) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert caught.value.exit_code == 3
    return path.read_bytes() == content and [p for p in path.parent.parent.rglob("*") if p.is_file()] == [path]


@pytest.fixture
def path(tmp_path):
    """A path with folders above it, where a name with `../` could lead to."""
    inner = tmp_path / "one" / "two"
    inner.mkdir(parents=True)
    return inner / "a.zip"


# ---- Names and kinds of members


UP = ["../../a.npy", "x/../../a.npy", "..", "..\\a.npy"]
ABSOLUTE = ["/a.npy", "//host/a.npy", "C:\\a.npy", "C:a.npy", "x\\a.npy"]


@pytest.mark.fault(58)
@pytest.mark.parametrize("name", UP + ABSOLUTE)
def test_a_name_that_leads_out_of_the_archive(path, name):
    assert refused(path, zip_of((zipfile.ZipInfo(name), npy(IMAGES))), "a name that leads out of the archive")


@pytest.mark.fault(58)
def test_a_name_with_a_nul_in_it(path):
    assert refused(path, zipped({"a.npy_.txt": npy(IMAGES)}).replace(b"a.npy_", b"a.npy\0"), "a name that leads out")


@pytest.mark.fault(58)
@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_a_member_that_is_no_plain_file(path, kind):
    member = zipfile.ZipInfo("a.npy")
    member.external_attr = (kind | 0o777) << 16
    assert refused(path, zip_of((member, b"/etc/passwd")), "a link or a device")


@pytest.mark.fault(58)
def test_a_bad_member_beside_a_good_one_counts_wherever_it_is(path):
    for name in ("../evil/", "__MACOSX/../../evil"):
        assert refused(path, zipped({"a.npy": npy(IMAGES), name: b""}), "a name that leads out of the archive")


TAR = {
    "file": (tarfile.REGTYPE, "a.npy", ""),
    "hard link": (tarfile.LNKTYPE, "a.npy", "/etc/passwd"),
    "symbolic link": (tarfile.SYMTYPE, "a.npy", "/etc/passwd"),
    "device": (tarfile.CHRTYPE, "a.npy", ""),
    "name that leads out": (tarfile.REGTYPE, "../../a.npy", ""),
}


@pytest.mark.fault(58)
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("kind", TAR)
def test_a_tar_is_not_opened(path, kind, form):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        member = tarfile.TarInfo(TAR[kind][1])
        member.type, member.linkname = TAR[kind][0], TAR[kind][2]
        member.size = len(CONTENT) if member.isreg() else 0
        archive.addfile(member, io.BytesIO(CONTENT))
    refused_as_array = "received a tar archive; unpack it first"
    for content in (stream.getvalue(), gzip.compress(stream.getvalue())):
        path.write_bytes(content)
        with pytest.raises(DataError, match=refused_as_array):
            read_array(path)
        with pytest.raises(DataError, match=r"tar archive|a pickled dictionary of arrays"):
            read_views(path, ["m0"])
    assert [p.name for p in path.parent.parent.rglob("*") if p.is_file()] == [path.name]


@pytest.mark.fault(60)
def test_an_encrypted_member(path):
    whole = bytearray(zipped({"a.npy": npy(IMAGES)}))
    whole[6] |= 1
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    assert refused(path, bytes(whole), "encrypted; unpack it first")


@pytest.mark.fault(60)
def test_two_members_of_one_name(path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = zip_of(("a.npy", npy(IMAGES)), ("a.npy", npy(IMAGES + 1)))
    assert refused(path, content, "expected every name once, received 'a.npy' twice")


@pytest.mark.fault(59)
@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_unpacks_everything_in_one_go(path, method):
    assert refused(path, zipped({"a.npy": npy(IMAGES)}, method), f"compressed by method {method}")


# ---- Damage


@pytest.mark.fault(60)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("reader", ["array", "npz", "pickle"])
def test_a_wrong_checksum(path, method, reader):
    import pickle

    content = pickle.dumps({"m0": IMAGES}) if reader == "pickle" else npy(IMAGES)
    whole = bytearray(zipped({"a.npy": content}, method))
    whole[14] ^= 1
    whole[whole.rindex(b"PK\x01\x02") + 16] ^= 1
    path.write_bytes(whole)
    read = {
        "array": lambda: read_array(path),
        "npz": lambda: read_npz(path, ["a"]),
        "pickle": lambda: read_views(path, ["m0"]),
    }
    with pytest.raises(DataError, match="Bad CRC-32"):
        read[reader]()


@pytest.mark.fault(60)
def test_a_stored_pickle_with_a_flipped_pixel_that_is_skipped_and_read_later(path, rng):
    """The checksum covers what the parser skips."""
    import pickle

    large = rng.random((2, 2**16))
    whole = bytearray(zipped({"a.pkl": pickle.dumps({"m0": large, "m1": large + 1}, 4)}, zipfile.ZIP_STORED))
    whole[whole.index(large.tobytes()) + 5000] ^= 1
    path.write_bytes(whole)
    for key in ("m0", "m1"):
        with pytest.raises(DataError, match="Bad CRC-32"):
            read_views(path, [key])


@pytest.mark.fault(60)
def test_a_truncated_list_of_members(path):
    content = zipped({"a.npy": npy(IMAGES)})
    start = content.index(b"PK\x01\x02")
    for end in range(start, len(content)):
        assert refused(path, content[:end], "damaged zip archive")


@pytest.mark.fault(60)
def test_zip64_is_read(path, monkeypatch):
    plain = zip_of(("a.npy", npy(IMAGES)))
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)  # the writer now takes every size for a large one
    content = zip_of(("a.npy", npy(IMAGES)))
    monkeypatch.undo()
    assert b"PK\x06\x06" in content
    assert b"PK\x06\x07" in content
    assert b"PK\x06\x06" not in plain
    path.write_bytes(content)
    np.testing.assert_array_equal(read_array(path), IMAGES)
    np.testing.assert_array_equal(read_npz(path, npz_names(path))["a"], IMAGES)
    for end in range(content.index(b"PK\x06\x06"), len(content)):
        assert refused(path, content[:end], "damaged zip archive")


# ---- Bombs


def with_sizes(content, packed=None, unpacked=None):
    """A zip of one member that lies about its sizes in both of its headers."""
    whole = bytearray(content)
    for start, offset in ((0, 18), (whole.index(b"PK\x01\x02"), 20)):
        for value, place in ((packed, start + offset), (unpacked, start + offset + 4)):
            if value is not None:
                whole[place : place + 4] = struct.pack("<I", value)
    return bytes(whole)


@pytest.mark.fault(59)
@pytest.mark.parametrize("size", [0, 1, 100, 151])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_header_that_claims_too_little(path, size, method):
    content = zipped({"a.npy": npy(IMAGES)}, method)
    assert len(npy(IMAGES)) == 152
    assert refused(path, with_sizes(content, unpacked=size), "a.zip")


@pytest.mark.fault(59)
@pytest.mark.parametrize("size", [153, 10_000, 2**28])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_header_that_claims_too_much(path, size, method):
    """What is there is read, and its checksum is right; memory is taken for no more than that."""
    path.write_bytes(with_sizes(zipped({"a.npy": npy(IMAGES)}, method), unpacked=size))
    tracemalloc.start()
    np.testing.assert_array_equal(read_array(path), IMAGES)
    np.testing.assert_array_equal(read_npz(path, ["a"])["a"], IMAGES)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


@pytest.mark.fault(59)
@pytest.mark.parametrize("size", [2**28 + 1, 2**32 - 2])
def test_a_header_that_claims_more_than_an_archive_of_its_size_may_hold(path, size):
    assert refused(
        path, with_sizes(zipped({"a.npy": npy(IMAGES)}), unpacked=size), f"claims to unpack to {size:,} bytes"
    )


@pytest.mark.fault(59)
def test_a_header_that_lies_about_the_packed_size(path):
    content = zipped({"a.npy": npy(IMAGES)})
    for size in (0, 1, 20):
        assert refused(path, with_sizes(content, packed=size), "a.zip")


@pytest.mark.fault(59)
@pytest.mark.parametrize("pack", [gzip.compress, lambda content: zipped({"a.npy": content})], ids=["gzip", "zip"])
@pytest.mark.parametrize("outer", ["zip", "gzip"])
def test_an_archive_inside_an_archive_is_not_opened(path, pack, outer):
    inner = pack(npy(IMAGES))
    path.write_bytes(zipped({"a.npy": inner}) if outer == "zip" else gzip.compress(inner))
    with pytest.raises(DataError, match="archive inside an archive; unpack it first"):
        read_array(path)
    with pytest.raises(DataError, match="a pickled dictionary of arrays"):
        read_views(path, ["m0"])
    if outer == "zip":
        with pytest.raises(DataError, match=r"a\.zip\[a\.npy\]: damaged \.npy header"):
            read_npz(path, ["a"])


@pytest.mark.fault(59)
@pytest.mark.parametrize("count", [1001, 70_000])
def test_too_many_members(path, count):
    """A list of a million members takes a gigabyte as objects; this one is not even read where it is long."""
    record = bytearray(zipped({"a": b""}))
    member = record[record.index(b"PK\x01\x02") : record.index(b"PK\x05\x06")]
    start = record.index(b"PK\x01\x02")
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count % 2**16, count % 2**16, len(member) * count, start, 0)
    started = time.process_time()
    assert refused(path, bytes(record[:start] + member * count + end), "at most 1,000 files")
    assert time.process_time() - started < 2.0


@pytest.mark.fault(59)
def test_a_thousand_members_are_few_enough(path):
    path.write_bytes(zipped({f"{i}.npy": npy(IMAGES) for i in range(1000)}))
    assert npz_names(path) == [str(i) for i in range(1000)]
    np.testing.assert_array_equal(read_npz(path, ["999"])["999"], IMAGES)


BIG = 3 * 2**30
SCRIPT = """
import json, resource, sys, time
from bicoder.data.formats.arrays import npz_names, read_array, read_npz
from bicoder.errors import DataError
from bicoder.data.datasets import Folder
from bicoder.data.formats.pickles import read_views

readers = {
    "array": read_array,
    "npz": lambda path: read_npz(path, npz_names(path)),
    "pickle": lambda path: read_views(path, ["m0"]),
    "folder": lambda path: Folder(path).read(),
}
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2 * 2**30,) * 2)
for path, reader in json.loads(sys.argv[1]):
    started = time.process_time()
    try:
        readers[reader](path)
        said = "read"
    except DataError as error:
        said = str(error)
    with open("/proc/self/status") as status:  # not ru_maxrss, which a child has from its parent
        peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    print(json.dumps([said, time.process_time() - started, peak]))
"""


def deflated(head):
    """`head`, then 3 GiB of zeros, as raw deflate, without packing more than 16 MiB of them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * (BIG // 2**24) + b"\x03\x00"


def gzip_bomb(head):
    return b"\x1f\x8b\x08" + bytes(7) + deflated(head) + struct.pack("<II", 0, (len(head) + BIG) % 2**32)


def zip_bomb(head, claimed):
    raw = deflated(head)
    local = struct.pack("<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 0, 0, len(raw), claimed, 5, 0) + b"a.npy"
    listed = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 8, 0, 0, 0, len(raw), claimed, 5, 0, 0, 0, 0, 0, 0)
    listed += b"a.npy"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(listed), len(local) + len(raw), 0)
    return local + raw + listed + end


def png_bomb(width, height):
    """A grey PNG of zeros."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


@pytest.mark.fault(33, 54, 59)
def test_bombs_are_refused_within_two_gigabytes(tmp_path):
    """Files of 3 MB that unpack to 3 GiB, in a process that is given 2 GiB: whatever is refused is a `DataError`."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (BIG,)})
    header, text = stream.getvalue(), b"\x80\x04}\x8c\x02m0"
    too_much = "out of an archive of its size, received more"
    bombs = {
        "array.gz": (gzip_bomb(header), "array", too_much),
        "header.gz": (gzip_bomb(b"\x93NUMPY\x02\x00" + b"\xff" * 4), "array", "header of at most 10,000 bytes"),
        "array.zip": (zip_bomb(header, BIG + len(header)), "array", "claims to unpack to 3,221,225,"),
        "array.npz": (zip_bomb(header, BIG + len(header)), "npz", "claims to unpack to 3,221,225,"),
        "lie.zip": (zip_bomb(header, 2**28), "array", "Bad CRC-32"),
        "lie.npz": (zip_bomb(header, 2**28), "npz", "Bad CRC-32"),
        "bytes.gz": (gzip_bomb(text + b"\x8e" + struct.pack("<Q", BIG)), "pickle", too_much),
        "text.gz": (gzip_bomb(text + b"\x8d" + struct.pack("<Q", BIG)), "pickle", too_much),
        "line.gz": (gzip_bomb(b"(dV"), "pickle", too_much),
        "number.gz": (gzip_bomb(text + b"I"), "pickle", "a pickled dictionary of arrays, received"),
        "long.gz": (gzip_bomb(text + b"\x8b\xff\xff\xff\x7f"), "pickle", "an argument of 2,147,483,647 bytes"),
        "pixels/a.png": (png_bomb(60_000, 60_000), "folder", "damaged image"),
        "large/a.png": (png_bomb(10_000, 10_000), "folder", "exceeds limit of 89478485 pixels"),
    }
    for name, (content, _, _) in bombs.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
        assert len(content) < 2**22
    tasks = [
        (str(tmp_path / name) if reader != "folder" else str((tmp_path / name).parent), reader)
        for name, (_, reader, _) in bombs.items()
    ]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, json.dumps(tasks)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    for (name, (_, _, said)), line in zip(bombs.items(), done.stdout.splitlines(), strict=True):
        received, seconds, peak = json.loads(line)
        assert said in received, name
        assert seconds < 10, name
        assert peak < 1.6 * 2**30, name
