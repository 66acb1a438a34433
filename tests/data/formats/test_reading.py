"""Many image files as one array: each opened once, by threads; what is damaged is found in one go."""

import collections
import threading

import numpy as np
import pytest
from PIL import Image

from bicoder.data.datasets import Folder
from bicoder.data.formats import archives, images, reading
from bicoder.data.loader import DataLoader
from bicoder.errors import DataError


def write(folder, arrays):
    for i, array in enumerate(arrays):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / f"{i:04d}.png")
    return folder


def greys(rng, count, height=6, width=5):
    return list(rng.integers(0, 256, (count, height, width), "uint8"))


@pytest.fixture
def opened(monkeypatch):
    """name -> how often it was opened for its content."""
    found, real = collections.Counter(), archives.read_regular

    def counting(path, *args, **options):
        found[str(path).rsplit("/", 1)[-1]] += 1
        return real(path, *args, **options)

    monkeypatch.setattr(archives, "read_regular", counting)
    return found


@pytest.mark.fault(110)
@pytest.mark.parametrize("stream", [False, True])
def test_each_file_is_opened_once(tmp_path, rng, opened, stream):
    folder = write(tmp_path / "set", greys(rng, 300))
    DataLoader(folder, stream=stream, data_dir=tmp_path / "cache")
    assert set(opened.values()) == {1}
    assert len(opened) == 300


@pytest.mark.fault(110)
def test_several_threads_read(tmp_path, rng, monkeypatch):
    """Two of them are inside Pillow at the same time, or this waits in vain."""
    together, real = threading.Barrier(2, timeout=60), images.pixels

    def meet(*args):
        if threading.current_thread() is not threading.main_thread() and not together.broken and met.count < 2:
            met.count += 1
            together.wait()
        return real(*args)

    met = type("Met", (), {"count": 0})()
    monkeypatch.setattr(images, "pixels", meet)
    monkeypatch.setattr(reading, "cores", lambda: 2)
    arrays = greys(rng, 40)
    np.testing.assert_array_equal(Folder(write(tmp_path, arrays)).read().train[..., 0], arrays)
    assert met.count == 2


@pytest.mark.parametrize("rows", [1, 3, 1000])
@pytest.mark.parametrize(
    ("other", "shape"),
    [
        (lambda rng: rng.integers(0, 256, (6, 5, 3), "uint8"), (31, 6, 5, 3)),  # in colour
        (lambda rng: rng.integers(0, 256, (7, 5), "uint8"), (31, 64, 64, 1)),  # of another size
        (lambda rng: rng.integers(0, 256, (7, 5, 3), "uint8"), (31, 64, 64, 3)),  # both
    ],
)
@pytest.mark.parametrize("place", [0, 1, 30])
def test_one_that_is_another_is_found_wherever_it_is(tmp_path, rng, monkeypatch, rows, other, shape, place):
    arrays = greys(rng, 30)
    arrays.insert(place, other(rng))
    folder = write(tmp_path / "set", arrays)
    monkeypatch.setattr(reading, "rows_of", lambda array: rows)
    notes = []
    found = Folder(folder, say=notes.append).read().train
    assert found.shape == shape
    alone = write(tmp_path / "alone", [arrays[place]])
    expected = Folder(alone, image_size=shape[1:3], channels=shape[3], say=str).read().train[0]
    np.testing.assert_array_equal(found[place], expected)
    assert len(notes) == (shape[1] == 64)
    stream = DataLoader(folder, stream=True, data_dir=tmp_path / "cache")
    assert len(stream.training_images) + len(stream.test_images) == 31
    assert stream.image_shape == shape[1:]


# ---- Damaged files


@pytest.fixture
def damaged(tmp_path, rng):
    """A folder of 40 images of which 13 are damaged, in three ways, and the names of these."""
    folder = write(tmp_path / "set", greys(rng, 40))
    paths = sorted(folder.iterdir())[3:40:3]
    for i, path in enumerate(paths):
        content = path.read_bytes()
        path.write_bytes([b"", content[:-30], b"no image"][i % 3])
    return folder, [path.name for path in paths]


@pytest.mark.fault(109)
@pytest.mark.parametrize("stream", [False, True])
def test_all_damaged_files_are_listed_at_once(damaged, tmp_path, stream):
    folder, names = damaged
    with pytest.raises(DataError) as caught:
        DataLoader(folder, stream=stream, data_dir=tmp_path / "cache")
    said = str(caught.value)
    listed = ", ".join(names[:10])
    assert said.startswith(f"{folder}: 13 of 40 images are damaged: {listed} and 3 more, all of which are listed in ")
    assert "--skip_damaged" in said
    [kept] = (tmp_path / "cache" / "damaged").iterdir()
    assert str(kept) in said
    lines = kept.read_text().splitlines()
    assert [line.split(": ")[0] for line in lines] == [str(folder / name) for name in names]
    assert not list((tmp_path / "cache").glob("converted/*.npy"))


@pytest.mark.fault(109)
@pytest.mark.parametrize("stream", [False, True])
def test_without_them_it_goes_on_and_says_how_many(damaged, tmp_path, rng, capsys, stream):
    folder, names = damaged
    options = {"stream": stream, "data_dir": tmp_path / "cache", "skip_damaged": True}
    for _ in range(2):  # read or converted, and found
        loader = DataLoader(folder, **options)
        assert f"{folder}: 13 of 40 images are damaged and left out: 0003.png, " in capsys.readouterr().err
        found = dict(zip(loader.training_files, loader.training_images[:], strict=True))
        found |= dict(zip(loader.test_files, loader.test_images[:], strict=True))
        assert sorted(found) == sorted({f"{i:04d}.png" for i in range(40)} - set(names))
        for name, image in found.items():
            with Image.open(folder / name) as right:
                np.testing.assert_array_equal(image[..., 0], np.asarray(right) / np.float32(255))
        assert loader.split_names()["damaged"].tolist() == names
    with pytest.raises(DataError, match="13 of 40 images are damaged"):
        DataLoader(folder, stream=stream, data_dir=tmp_path / "cache")


@pytest.mark.fault(109)
def test_a_few_need_no_list(tmp_path, rng):
    folder = write(tmp_path / "set", greys(rng, 4))
    for name in ("0000.png", "0002.png"):
        (folder / name).write_bytes(b"")
    with pytest.raises(DataError, match=r"2 of 4 images are damaged: 0000\.png, 0002\.png; the first: ") as caught:
        DataLoader(folder, data_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    assert "\n" not in str(caught.value)


@pytest.mark.fault(109)
@pytest.mark.parametrize("skip", [False, True])
def test_nothing_is_left(tmp_path, rng, skip):
    folder = write(tmp_path / "set", greys(rng, 3))
    for path in folder.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="3 of 3 images are damaged"):
        DataLoader(folder, skip_damaged=skip)
