"""Images that stay in a file: the same as those in memory, converted once, and never trusted without their record."""

import json
import os
import pickle
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from bicoder.data.loader import DataLoader
from bicoder.data.stored.stored_images import StoredImages
from bicoder.errors import DataError
from bicoder.files.whole_file import UNFINISHED


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def arrays_of(cache):
    return sorted(path for path in (cache / "converted").glob("*.npy") if not path.name.startswith("."))


def folder_of(path, rng):
    """A folder of 31 images in two sub-folders, grey and coloured, of two sizes."""
    for i in range(31):
        (path / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        shape = (9, 8, 3) if i % 3 else (12, 10)
        Image.fromarray(rng.integers(0, 256, shape, "uint8")).save(path / "ab"[i % 2] / f"{i}.png")


def npy_of(array):
    def make(path, rng):
        np.save(path, array(rng))

    return make


def views_of(rng):
    views = {f"m{i}": rng.random((40, 28, 28, 3), "float32") for i in range(5)}
    test = {name: rng.random((12, 28, 28, 3), "float32") for name in views}
    return views, test


def color(cache, rng, archive=False):
    """The three files of mnist_color, small."""
    cache.mkdir(exist_ok=True)
    for name, views in zip(("mnist_color", "mnist_color_te"), views_of(rng), strict=True):
        content = pickle.dumps(views, 4)
        if archive:
            with zipfile.ZipFile(cache / f"{name}.pkl", "w", zipfile.ZIP_DEFLATED) as file:
                file.writestr(f"{name}.pkl", content)
        else:
            (cache / f"{name}.pkl").write_bytes(content)
    np.save(cache / "mnist_color_y_te.npy", np.arange(12) % 10)


SOURCES = {
    "folder": folder_of,
    "bytes.npy": npy_of(lambda rng: rng.integers(0, 256, (50, 6, 5), "uint8")),
    "binary.npy": npy_of(lambda rng: rng.integers(0, 2, (50, 6, 5)).astype(bool)),
    "words.npy": npy_of(lambda rng: rng.integers(0, 65536, (50, 3, 6, 5), "uint16")),
    "vectors.npy": npy_of(lambda rng: rng.random((50, 7))),
    "rounded.npy": npy_of(lambda rng: rng.random((50, 7)) * 1.0004 - 0.0002),
    "upto255.npy": npy_of(lambda rng: (rng.random((50, 7)) * 255).astype(">f4")),
    "fortran.npy": npy_of(lambda rng: np.asfortranarray(rng.random((50, 7)))),
}


@pytest.fixture(params=SOURCES)
def source(request, tmp_path, rng):
    path = tmp_path / request.param
    SOURCES[request.param](path, rng)
    return path


@pytest.mark.parametrize("binarize", [None, "static", "dynamic"])
def test_the_same_images_as_in_memory(source, cache, binarize, monkeypatch):
    """In portions of a few rows, so that they are put together too."""
    memory = DataLoader(source, seed=3, binarize=binarize, data_dir=cache)
    assert not cache.exists()
    monkeypatch.setattr("bicoder.engine.arrays.portions.BYTES", 300)
    for _ in range(2):  # converted, and found
        stream = DataLoader(source, seed=3, binarize=binarize, data_dir=cache, stream=True)
        for name in ("training_images", "test_images"):
            found, expected = getattr(stream, name), getattr(memory, name)
            assert isinstance(found, StoredImages)
            assert (found.shape, found.dtype, found.size) == (expected.shape, expected.dtype, expected.size)
            np.testing.assert_array_equal(found[:], expected)
        assert stream.image_shape == memory.image_shape
        assert stream.label_names == memory.label_names
        np.testing.assert_array_equal(stream.test_labels, memory.test_labels)
        expected = {None: 1, "dynamic": 2, "static": 3}[binarize]  # what is drawn is a file of its own
        assert len(arrays_of(cache)) == expected


@pytest.mark.parametrize("key", [3, -1, slice(4, 11), slice(None, None, -3), [5, 2, 2, 9], np.arange(6).reshape(2, 3)])
def test_images_are_taken_as_from_an_array(tmp_path, cache, rng, key):
    np.save(tmp_path / "x.npy", rng.integers(0, 256, (30, 4, 3), "uint8"))
    images = DataLoader(tmp_path / "x.npy", data_dir=cache, stream=True).training_images
    everything = np.asarray(images)
    np.testing.assert_array_equal(images[key], everything[key])
    np.testing.assert_array_equal(images.select([7, 1, 4])[1:], everything[[1, 4]])
    np.testing.assert_array_equal(images.reshape(len(images), -1)[2], everything[2].ravel())
    for wrong in (len(images), -len(images) - 1):
        with pytest.raises(IndexError):
            images[wrong]


def test_mnist_color_is_converted_view_by_view(cache, rng):
    color(cache, rng)
    for view in ("m1", "m3", "m1"):
        memory = DataLoader("mnist_color", view=view, data_dir=cache, download=False)
        stream = DataLoader("mnist_color", view=view, data_dir=cache, download=False, stream=True)
        np.testing.assert_array_equal(stream.training_images[:], memory.training_images)
        np.testing.assert_array_equal(stream.test_images[:], memory.test_images)
        np.testing.assert_array_equal(stream.test_labels, memory.test_labels)
    assert len(arrays_of(cache)) == 4


def test_an_archive_of_mnist_color_is_unpacked_once(cache, rng, monkeypatch):
    """A view in a zip costs all that lies in front of it; its copy is used in memory too."""
    color(cache, rng, archive=True)
    first = DataLoader("mnist_color", view="m2", data_dir=cache, download=False).training_images
    assert len(arrays_of(cache)) == 2
    monkeypatch.setattr("bicoder.data.formats.pickles.parse", None)  # whoever reads the pickle again fails
    again = DataLoader("mnist_color", view="m2", data_dir=cache, download=False).training_images
    assert isinstance(again, np.ndarray)
    np.testing.assert_array_equal(first, again)


def stamp(path):
    return path.stat().st_ino, path.stat().st_mtime_ns


def test_a_changed_source_is_converted_again(source, cache):
    load = lambda: DataLoader(source, data_dir=cache, stream=True)  # noqa: E731
    load()
    [path] = arrays_of(cache)
    before = stamp(path)
    load()
    assert stamp(path) == before
    file = next(source.rglob("*.png")) if source.is_dir() else source
    os.utime(file, (1, 1))
    load()
    assert stamp(path) != before
    assert arrays_of(cache) == [path]


def test_a_folder_with_one_image_more_or_less(tmp_path, cache, rng):
    folder_of(tmp_path / "f", rng)
    counts = []
    for change in (lambda: None, (tmp_path / "f/a/0.png").unlink, lambda: folder_of(tmp_path / "f", rng)):
        change()
        loader = DataLoader(tmp_path / "f", data_dir=cache, stream=True)
        counts.append(len(loader.training_images) + len(loader.test_images))
    assert counts == [31, 30, 31]


def record_of(path):
    return path.with_name(f".{path.name}.json")


def longer(path):
    path.write_bytes(path.read_bytes() + b"\0")


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def other_shape(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(50, 6, 5, 1)", b"(25, 6, 5, 2)"))


def objects(path):
    np.save(path, np.array([print, len], object), allow_pickle=True)


def no_array(path):
    path.write_bytes(b"")


def no_json(path):
    record_of(path).write_text("{")


def nested_json(path):
    record_of(path).write_text("[" * 60_000)


def no_record(path):
    record_of(path).unlink()


def wrong_survey(path):
    record = json.loads(record_of(path).read_text())
    record["survey"]["high"] = "1"
    record_of(path).write_text(json.dumps(record))


DAMAGES = (longer, cut, other_shape, objects, no_array, no_json, nested_json, no_record, wrong_survey, Path.unlink)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_copy_is_made_again(tmp_path, cache, rng, damage):
    np.save(tmp_path / "x.npy", rng.integers(0, 256, (50, 6, 5), "uint8"))
    load = lambda: DataLoader(tmp_path / "x.npy", data_dir=cache, stream=True).training_images[:]  # noqa: E731
    expected = load()
    [path] = arrays_of(cache)
    good, time = path.read_bytes(), path.stat().st_mtime_ns
    damage(path)
    if path.exists():
        os.utime(path, ns=(time, time))  # as bad luck would have it
    np.testing.assert_array_equal(load(), expected)
    assert path.read_bytes() == good
    assert sorted(p.name for p in path.parent.iterdir()) == sorted((path.name, record_of(path).name))


@pytest.mark.fault(36, 37)
def test_bad_pixels_are_found_while_converting(tmp_path, cache, rng, monkeypatch):
    monkeypatch.setattr("bicoder.engine.arrays.portions.BYTES", 300)
    array = rng.random((50, 6, 5))
    array[30, 2, 1] = array[40, 0, 0] = np.nan
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DataError, match=r"received 2 that are NaN or infinite, the first at index \(30, 2, 1\)"):
        DataLoader(tmp_path / "x.npy", data_dir=cache, stream=True)
    assert not [p for p in (cache / "converted").iterdir() if p.suffix != ".lock"]
    np.save(tmp_path / "x.npy", rng.random((50, 6, 5)) * 2 - 1)
    with pytest.raises(DataError, match=r"received values from -0\.\d+ to 0\.\d+"):
        DataLoader(tmp_path / "x.npy", data_dir=cache, stream=True)


@pytest.mark.fault(47)
@pytest.mark.parametrize("change", [cut, longer, lambda path: os.utime(path, (5, 5))], ids=["cut", "longer", "touched"])
def test_a_copy_that_changes_while_it_is_read(tmp_path, cache, rng, change):
    """In place, as an editor does; a copy that is replaced stays what it was for those who have it open."""
    np.save(tmp_path / "x.npy", rng.random((50, 7), "float32"))
    images = DataLoader(tmp_path / "x.npy", data_dir=cache, stream=True).training_images
    expected = images[:]
    (tmp_path / "x.npy").unlink()  # the source is no longer needed
    np.testing.assert_array_equal(images[:], expected)
    [path] = arrays_of(cache)
    change(path)
    with pytest.raises(DataError, match=r"x-\w+\.npy: has (changed|been cut short) while it was in use"):
        images[:]


def test_a_source_that_changes_while_it_is_converted(tmp_path, cache, rng, monkeypatch):
    np.save(tmp_path / "x.npy", rng.random((50, 7), "float32"))
    convert = sys.modules["bicoder.data.stored.conversion"].convert

    def and_change(*arguments):
        found = convert(*arguments)
        os.utime(tmp_path / "x.npy", (5, 5))
        return found

    monkeypatch.setattr("bicoder.data.stored.conversion.convert", and_change)
    with pytest.raises(DataError, match=r"x\.npy: has changed while it was read"):
        DataLoader(tmp_path / "x.npy", data_dir=cache, stream=True)
    assert arrays_of(cache) == []


LOAD = "import sys; from bicoder.data.loader import DataLoader; x = DataLoader(*sys.argv[1:2], data_dir=sys.argv[2], "


def python(code, *arguments, **keywords):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, text=True, **keywords)


def test_killed_while_converting(tmp_path, cache, rng):
    """What it leaves is removed by the next, which converts anew."""
    np.save(tmp_path / "x.npy", rng.random((60, 7), "float32"))
    code = (
        "import os, signal, bicoder.engine.arrays.portions as p, bicoder.data.pixels as q; p.BYTES = 300\n"
        "def add(self, portion, own=q.Surveyor.add):\n"
        "    own(self, portion)\n"
        "    self.seen > 20 and os.kill(os.getpid(), signal.SIGKILL)\n"
        f"q.Surveyor.add = add\n{LOAD}stream=True)"
    )
    assert python(code, tmp_path / "x.npy", cache).wait(60) == -9
    assert list((cache / "converted").glob(f"{UNFINISHED}*"))
    assert arrays_of(cache) == []
    images = DataLoader(tmp_path / "x.npy", data_dir=cache, stream=True).training_images
    np.testing.assert_array_equal(images[:], DataLoader(tmp_path / "x.npy").training_images)
    [path] = arrays_of(cache)
    assert sorted(p.name for p in path.parent.iterdir()) == sorted((path.name, record_of(path).name))


def test_several_at_once(tmp_path, cache, rng):
    """Threads of one process and another process: all have the images, and one file is left."""
    np.save(tmp_path / "x.npy", rng.random((2000, 30), "float32"))
    other = python(
        f"{LOAD}stream=True); print(float(x.training_images[:].sum()))", tmp_path / "x.npy", cache, stdout=-1
    )
    sums, load = [], lambda: DataLoader(tmp_path / "x.npy", data_dir=cache, stream=True).training_images[:].sum()
    threads = [threading.Thread(target=lambda: sums.append(float(load()))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sums.append(float(other.communicate(timeout=60)[0]))
    assert sums == [float(DataLoader(tmp_path / "x.npy").training_images.sum())] * 4
    assert len(arrays_of(cache)) == 1


@pytest.mark.fault(181)
def test_a_disk_without_room_says_how_much_is_needed(tmp_path, cache, rng, monkeypatch, capsys):
    np.save(tmp_path / "x.npy", rng.random((50, 7), "float32"))
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("bicoder.data.stored.conversion.shutil.disk_usage", lambda path: full)
    needed = f"{50 * 7 * 4 + 2**20:,}"
    with pytest.raises(
        DataError, match=rf"{cache}/converted: expected {needed} free bytes .* received 1,000; --data_dir"
    ):
        DataLoader(tmp_path / "x.npy", data_dir=cache, stream=True)
    color(cache, rng, archive=True)  # whose copy saves time only
    loader = DataLoader("mnist_color", data_dir=cache, download=False)
    assert loader.training_images.shape == (40, 28, 28, 3)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"Going on without a converted copy: {cache}/converted: expected ")


@pytest.mark.fault(182)
@pytest.mark.parametrize("stream", [False, True])
def test_a_cache_that_cannot_be_written(tmp_path, cache, rng, stream, capsys):
    """A file in the place of the folder: root cannot write there either."""
    color(cache, rng, archive=True)
    (cache / "converted").write_text("mine")
    if stream:
        with pytest.raises(DataError, match=r"converted/.*: cannot be written: .*; --data_dir or \$BICODER_DATA"):
            DataLoader("mnist_color", data_dir=cache, download=False, stream=True)
    else:
        assert len(DataLoader("mnist_color", data_dir=cache, download=False).training_images) == 40
        assert capsys.readouterr().err.startswith("Going on without a converted copy: ")
    assert (cache / "converted").read_text() == "mine"


def test_what_is_kept_in_memory_says_so(cache, capsys):
    loader = DataLoader("digits", data_dir=cache, stream=True)
    assert isinstance(loader.training_images, np.ndarray)
    assert capsys.readouterr().err == (
        "digits: is kept in memory; --stream is for folders, .npy files and mnist_color\n"
    )


MEMORY = """
import re, sys
from bicoder.data.loader import DataLoader
from bicoder.engine.arrays.fingerprint import fingerprint
def high():  # not ru_maxrss, which a child has from its parent
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = high()
loader = DataLoader(sys.argv[1], data_dir=sys.argv[2], stream=sys.argv[3] == "stream")
images = loader.training_images
fingerprint(images)
import numpy as np
order = np.random.default_rng(0).permutation(len(images))
for start in range(0, len(images), 500):
    images[order[start : start + 500]]
print(high() - before)
"""


def peak(path, cache, how):
    return int(python(MEMORY, path, cache, how, stdout=-1).communicate(timeout=100)[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_images(tmp_path, cache):
    """Four times the images, 31 MB and 126 MB of float32, take as much; in memory they take what they are."""
    rng, peaks = np.random.default_rng(0), {}
    for count in (10_000, 40_000):
        path = tmp_path / f"{count}.npy"
        np.save(path, np.tile(rng.random((1000, 784), "float32"), (count // 1000, 1)))
        peaks[count] = peak(path, cache, "stream"), peak(path, cache, "memory")
    few, many = peaks[10_000], peaks[40_000]
    assert many[0] < few[0] + 8e6
    assert many[0] < 60e6
    assert many[1] > few[1] + 80e6


@pytest.mark.fault(141)
def test_processes_that_convert_the_same_folder_make_one_copy(tmp_path):
    """Both at once, in a cache that is empty: the same images, one copy, nothing unfinished."""
    (tmp_path / "images").mkdir()
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (1000, 28, 28), "uint8")):
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    code = (
        "import hashlib, sys; from bicoder import DataLoader; import numpy as np;"
        "x = DataLoader(sys.argv[1], stream=True).training_images;"
        "print(hashlib.sha256(np.asarray(x[np.arange(len(x))]).tobytes()).hexdigest())"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT), "BICODER_DATA": str(tmp_path / "cache")}
    command = [sys.executable, "-c", code, str(tmp_path / "images")]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert len({out.splitlines()[-1] for out, _ in said}) == 1
    there = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert [path.suffix for path in there if path.stat().st_size > 500 * 28 * 28] == [".npy"], there
    assert not [path for path in there if path.name.startswith(UNFINISHED)]
