"""Files with bytes changed, cut out, put in or doubled: right data or our own error, in little time and memory.

What is right depends on the format:

- .npy: what `numpy.load` makes of the changed file, bit for bit. A changed pixel is a changed pixel, and a changed
  shape another shape: nothing in the file tells.
- IDX: an array that, written again, is the changed file, bit for bit; for the same reason.
- Pickles: arrays of numbers whose bytes are in the changed file.
- Whatever is in a zip, an .npz or a gzip, and PNG: the array that was written, bit for bit. Their checksums tell.
- JPEG, WebP, TIFF, BMP, GIF and AVIF: one image of bytes or 16-bit numbers, grey or in colour.
- split.csv of a run and the CSV of labels: what `csv` makes of the changed file.
- config.json of a run: what `json` makes of the changed file.

Besides, every changed byte among the pixels alone changes that byte alone: see the tests at the end.

`BICODER_FUZZ=N`, or `make fuzz`, takes N times as many files, other ones every time, and prints what became of them.
"""

import collections
import csv
import gc
import gzip
import io
import json
import os
import pickle
import resource
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bicoder.data.datasets import Folder
from bicoder.data.formats.arrays import npz_names, read_array, read_npz
from bicoder.data.formats.images import FORMATS as FORMATS_OF_PILLOW
from bicoder.data.formats.label_file import read_labels
from bicoder.data.formats.pickles import read_views
from bicoder.data.splits import read_split
from bicoder.errors import BicoderError, DataError, ModelError
from bicoder.runs.config import read_config, upgraded

pytestmark = pytest.mark.no_cover  # what they run is tested elsewhere, and tracing it takes most of the time

FUZZ = int(os.environ.get("BICODER_FUZZ", "1"))
FILES = 520  # of each format
SECONDS, MEMORY = 2.0, 2**23  # that one file may take
mutating = settings(
    max_examples=FILES,
    deadline=None,  # seconds of the processor are measured here, which other programs do not change
    database=None,
    derandomize=FUZZ == 1,
    suppress_health_check=list(HealthCheck),
)
IMAGES = (np.arange(3 * 4 * 5) * 4).astype("uint8").reshape(3, 4, 5)
LABELS = np.arange(3)
VIEWS = {
    "m0": (np.arange(12, dtype="float32") / 16).reshape(3, 4),
    "m1": np.asfortranarray(np.arange(-6, 6).astype(">i2").reshape(3, 4)),
}
CONV = {"name": "conv", "filters": [32, 64, 128], "kernel_size": 3, "activation": "relu"}
CONFIG = {
    "format": 1,
    "versions": {"bicoder": "0.1.0", "python": "3.11.7", "keras": "3.15.1"},
    "arguments": {"dset": "bïld", "epochs": 20, "learning_rate": 1e-3, "sigma": "learned", "binarize": None, "seed": 0},
    "data": {"training_images": 1438, "shape": [8, 8, 1], "image_shape": [8, 8, 1], "label_names": ["a", "b"]},
    "input_shape": [8, 8, 1],
    "model": {
        "encoder": {"name": "encoder", "network": CONV, "posterior": {"name": "diagonal_gaussian"}, "seed": 2968811710},
        "decoder": {"name": "decoder", "network": CONV, "likelihood": {"name": "gaussian", "sigma": 0.75}, "seed": 7},
        "prior": {"name": "standard_normal"},
        "objective": {"name": "elbo", "num_samples": 1},
        "latent_dim": 50,
        "seed": 0,
    },
}


def npy(array, version=None):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, version)
    return stream.getvalue()


def npz(save):
    stream = io.BytesIO()
    save(stream, images=IMAGES, labels=LABELS)
    return stream.getvalue()


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def zipped(content, method=zipfile.ZIP_DEFLATED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(zipfile.ZipInfo("inside"), content, method)
    return stream.getvalue()


def gzipped(content):
    return gzip.compress(content, mtime=0)


def read_folder(folder):
    found = Folder(folder, say=str).read()
    return found.train, found.train_labels, found.label_names


# name -> how Pillow writes it; all but PNG have no checksum.
PICTURES = {
    "jpeg": {},
    "webp": {},
    "webp lossless": {"lossless": True},
    "tiff": {},
    "tiff lzw": {"compression": "tiff_lzw"},
    "tiff deflate": {"compression": "tiff_adobe_deflate"},
    "bmp": {},
    "gif": {},
    "avif": {},
}


def picture(kind, **options):
    stream = io.BytesIO()
    Image.fromarray(IMAGES.reshape(4, 5, 3)).save(stream, kind.split()[0], **options)
    return stream.getvalue()


# ---- How a file of each format is read, and what of it is right


def assert_same(found, expected):
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


def assert_views(found):
    for array, expected in zip(found, VIEWS.values(), strict=True):
        assert_same(array, expected)


def like_numpy(found, content):
    assert_same(found, np.load(io.BytesIO(content), allow_pickle=False))


def written_again(found, content):
    assert content[:4] + struct.pack(f">{found.ndim}I", *found.shape) + found.tobytes() == content


def in_the_file(protocol):
    def check(found, content):
        for array in found:
            assert array.dtype.kind in "buif"
            raw = array.tobytes(order="A")
            if protocol == 0:  # escaped in many ways
                assert len(raw) <= len(content)
            else:
                assert (raw if protocol > 2 else raw.decode("latin1").encode()) in content

    return check


def images_and_labels(found, content):
    assert list(found) == ["images", "labels"]
    assert_same(found["images"], IMAGES)
    assert_same(found["labels"], LABELS)


def one_picture(found, content):
    images, labels, names = found
    assert images.dtype in (np.uint8, np.uint16)
    assert images.ndim == 4
    assert len(images) == 1
    assert images.shape[-1] in (1, 3)
    assert (labels, names) == (None, ())


def names_of_files(found, content):
    text = content.decode("utf-8", "surrogateescape")
    header, *lines = csv.reader(io.StringIO(text, newline=""))
    assert header[0] == "purpose"
    assert [name for names in found.values() for name in names.tolist()] == [
        row[1] if header[1] == "file" else int(row[1]) for use in found for row in lines if row[0] == use
    ]


def two_labels(found, content):
    labels, names = found
    assert len(labels) == 2
    assert set(labels.tolist()) == set(range(len(names)))


def parsed(found, content):
    assert isinstance(found, dict)
    expected = json.loads(content.decode())
    assert found == (upgraded(expected) if expected["format"] == 1 else expected)


FORMATS = {
    "npy": (npy(IMAGES), read_array, like_numpy),
    "npy 2.0, F order": (npy(np.asfortranarray(IMAGES / 7.0), (2, 0)), read_array, like_numpy),
    "npy.gz": (gzipped(npy(IMAGES)), read_array, lambda found, _: assert_same(found, IMAGES)),
    "npy.zip": (zipped(npy(IMAGES)), read_array, lambda found, _: assert_same(found, IMAGES)),
    "npy.zip, stored": (zipped(npy(IMAGES), 0), read_array, lambda found, _: assert_same(found, IMAGES)),
    "npz": (npz(np.savez), lambda path: read_npz(path, npz_names(path)), images_and_labels),
    "npz, packed": (npz(np.savez_compressed), lambda path: read_npz(path, npz_names(path)), images_and_labels),
    "idx": (idx(IMAGES), read_array, written_again),
    "idx.gz": (gzipped(idx(IMAGES)), read_array, lambda found, _: assert_same(found, IMAGES)),
    **{
        f"pickle {p}": (pickle.dumps(VIEWS, p), lambda path: read_views(path, list(VIEWS)), in_the_file(p))
        for p in range(6)
    },
    "pickle.gz": (
        gzipped(pickle.dumps(VIEWS, 4)),
        lambda path: read_views(path, list(VIEWS)),
        lambda found, _: assert_views(found),
    ),
    "pickle.zip": (
        zipped(pickle.dumps(VIEWS, 4)),
        lambda path: read_views(path, list(VIEWS)),
        lambda found, _: assert_views(found),
    ),
    "png": (
        picture("png"),
        lambda path: read_folder(path.parent)[0],
        lambda found, _: assert_same(found, IMAGES.reshape(1, 4, 5, 3)),
    ),
    **{
        kind: (picture(kind, **options), lambda path: read_folder(path.parent), one_picture)
        for kind, options in PICTURES.items()
        if kind.split()[0].upper() in FORMATS_OF_PILLOW
    },
    "split.csv": (b"purpose,file\ntraining,a/1.png\ntest,b 2.png\n", read_split, names_of_files),
    "labels.csv": (
        b"file,label\r\na.png,1\r\nb.png,2\r\n",
        lambda path: read_labels(path).of(["a.png", "b.png"], (), str),
        two_labels,
    ),
    "labels in order": (b"label\r\ncat\r\ndog\r\n", lambda path: read_labels(path).of([0, 1]), two_labels),
    "config.json": (json.dumps(upgraded(CONFIG), indent=2).encode(), lambda path: read_config(path.parent), parsed),
    "config.json of format 1": (json.dumps(CONFIG, indent=2).encode(), lambda path: read_config(path.parent), parsed),
}
# All else goes by its bytes.
NAMES = {
    **dict.fromkeys(PICTURES, "a.jpg"),
    "png": "a.png",
    "config.json": "config.json",
    "config.json of format 1": "config.json",
}

MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["change", "flip", "cut", "insert", "double"]),
        st.integers(0, 2**16 - 1),
        st.integers(0, 2**16 - 1),
        st.binary(min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=3,
)


def mutate(whole, mutations):
    """A file with some of its bytes changed."""
    content = bytearray(whole)
    for kind, first, second, raw in mutations:
        place, other = first % (len(content) + 1), second % (len(content) + 1)
        if kind == "change":
            content[place : place + len(raw)] = raw
        elif kind == "flip":
            content[place : place + 1] = bytes(byte ^ (1 << second % 8) for byte in content[place : place + 1])
        elif kind == "cut":
            del content[place : other if first % 2 else place + 1 + second % 4]
        elif kind == "insert":
            content[place:place] = raw
        else:
            content[place:place] = content[min(place, other) : max(place, other)]
    return bytes(content)


@pytest.fixture(scope="module")
def tally():
    """What became of the files of each format; printed at the end of `make fuzz`."""
    found = collections.defaultdict(lambda: {"read": 0, "refused": 0, "slowest": 0.0, "peak": 0})
    started = time.perf_counter()
    yield found
    if FUZZ > 1:
        print(f"\n\n{'':18}{'files':>10}{'read':>10}{'refused':>10}{'slowest':>12}{'peak':>12}")
        for name, row in found.items():
            files = row["read"] + row["refused"]
            cost = f"{row['slowest'] * 1000:>9.1f} ms{row['peak'] / 2**10:>8.0f} KiB"
            print(f"{name:18}{files:>10,}{row['read']:>10,}{row['refused']:>10,}{cost}")
        read, refused = (sum(row[name] for row in found.values()) for name in ("read", "refused"))
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(f"{'all':18}{read + refused:>10,}{read:>10,}{refused:>10,}")
        print(f"{time.perf_counter() - started:,.0f} s; the process never had more than {rss:,.0f} MiB")


@pytest.mark.fault(30, 31, 42, 51, 52, 56, 60)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_changed_file_gives_right_data_or_our_own_error(tmp_path, tally, kind):
    whole, read, is_right = FORMATS[kind]
    path, row = tmp_path / NAMES.get(kind, "a"), tally[kind]
    path.touch()
    error = ModelError if kind.startswith("config.json") else DataError

    @mutating
    @given(MUTATIONS)
    def one(mutations):
        content = mutate(whole, mutations)
        with open(path, "r+b") as file:  # thirty times as fast as to empty the file first
            file.write(content)
            file.truncate()
        gc.disable()  # what hypothesis leaves behind is not ours to pay for
        started = time.process_time()
        tracemalloc.start()
        try:
            found = read(path)
        except BicoderError as refused:
            found = refused
        finally:
            seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            gc.enable()
        row["slowest"], row["peak"] = max(row["slowest"], seconds), max(row["peak"], peak)
        assert seconds < SECONDS
        assert peak < MEMORY
        row["refused" if isinstance(found, BicoderError) else "read"] += 1
        if isinstance(found, BicoderError):
            assert type(found) is error
            assert str(path.parent) in str(found)
            assert str(found).isprintable()
            assert len(str(found)) < 1000
        else:
            is_right(found, content)

    for _ in range(FUZZ):  # each draws other files, and forgets them when it is done
        one()
    assert row["read"] + row["refused"] >= FILES
    assert row["refused"] > FILES // 20


def test_the_files_that_are_changed_are_right_before(tmp_path):
    for kind, (whole, read, is_right) in FORMATS.items():
        folder = tmp_path / kind
        folder.mkdir()
        path = folder / NAMES.get(kind, "a")
        path.write_bytes(whole)
        is_right(read(path), whole)
    assert FILES * len(FORMATS) >= 10_000


# ---- Pixels that change, and nothing else


@pytest.mark.fault(57)
@pytest.mark.parametrize("kind", ["npy", "npy 2.0, F order", "idx", "pickle 3", "pickle 4", "pickle 5"])
def test_a_changed_byte_of_a_pixel_changes_that_byte_alone(tmp_path, kind):
    whole, read, _ = FORMATS[kind]
    path = tmp_path / "a"
    path.write_bytes(whole)
    before = read(path) if "pickle" in kind else [read(path)]
    for number, array in enumerate(before):
        raw = array.tobytes(order="A")
        start = whole.index(raw)
        for place in range(len(raw)):
            content = bytearray(whole)
            content[start + place] ^= 0x10
            path.write_bytes(content)
            found = read(path) if "pickle" in kind else [read(path)]
            assert len(found) == len(before)
            for i, (mine, other) in enumerate(zip(found, before, strict=True)):
                assert (mine.dtype, mine.shape, mine.strides) == (other.dtype, other.shape, other.strides)
                changed = bytes(a ^ b for a, b in zip(mine.tobytes("A"), other.tobytes("A"), strict=True))
                flipped = bytes(place) + b"\x10" + bytes(len(raw) - place - 1)
                assert changed == (flipped if i == number else bytes(len(changed)))
