"""A folder of pictures as one array."""

import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image
from test_regular_file import OTHERS

from bicoder.data.datasets import Folder
from bicoder.data.formats.folders import find_images
from bicoder.errors import DataError

ORIENTATION = 0x0112


def read_folder(folder, size=None, say=print):
    """All images of a folder, their labels, and the names of these."""
    found = Folder(folder, image_size=size, say=say).read()
    return found.train, found.train_labels, found.label_names


def save(path, array, **options):
    """Write an array as a picture, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def grey(rng, height=8, width=6):
    return rng.integers(0, 256, (height, width), "uint8")


def color(rng, height=8, width=6):
    return rng.integers(0, 256, (height, width, 3), "uint8")


@pytest.fixture
def notes():
    """What was said."""
    return []


# ---- Modes


def test_grey_stays_grey(tmp_path, rng):
    pictures = [grey(rng) for _ in range(3)]
    for i, picture in enumerate(pictures):
        save(tmp_path / f"{i}.png", picture)
    images, labels, names = read_folder(tmp_path)
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, np.stack(pictures)[..., None])
    assert labels is None
    assert names == ()


def test_colour_has_three_channels(tmp_path, rng):
    pictures = [color(rng) for _ in range(3)]
    for i, picture in enumerate(pictures):
        save(tmp_path / f"{i}.png", picture)
    np.testing.assert_array_equal(read_folder(tmp_path)[0], np.stack(pictures))


def test_grey_among_colour_becomes_colour(tmp_path, rng):
    first, second = grey(rng), color(rng)
    save(tmp_path / "1.png", first)
    save(tmp_path / "2.png", second)
    images, *_ = read_folder(tmp_path)
    np.testing.assert_array_equal(images[0], np.repeat(first[..., None], 3, axis=-1))
    np.testing.assert_array_equal(images[1], second)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".JPG", ".Jpeg"])
@pytest.mark.parametrize(("make", "channels"), [(grey, 1), (color, 3)])
def test_jpeg(tmp_path, rng, suffix, make, channels):
    smooth = np.full_like(make(rng), 100)
    save(tmp_path / f"a{suffix}", smooth)
    images, *_ = read_folder(tmp_path)
    assert images.shape == (1, 8, 6, channels)
    assert abs(images.astype(int) - 100).max() <= 2


def test_sixteen_bits_of_grey_stay(tmp_path):
    picture = np.array([[0, 256, 32768, 65535]], "uint16")
    save(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(read_folder(tmp_path)[0][0, :, :, 0], picture)


def test_one_bit(tmp_path):
    save(tmp_path / "a.png", np.array([[True, False], [False, True]]))
    np.testing.assert_array_equal(read_folder(tmp_path)[0][0, :, :, 0], [[255, 0], [0, 255]])


def test_a_palette_is_looked_up(tmp_path):
    picture = Image.fromarray(np.array([[0, 1], [1, 2]], "uint8"), "P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.save(tmp_path / "a.png")
    red, green, blue = np.eye(3, dtype="uint8") * 255
    np.testing.assert_array_equal(read_folder(tmp_path)[0][0], [[red, green], [green, blue]])


def test_a_transparent_colour_of_a_palette_goes_onto_white(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], "uint8"), "P")
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "a.png", transparency=0)
    np.testing.assert_array_equal(read_folder(tmp_path)[0][0], [[[255, 255, 255], [0, 255, 0]]])


def test_transparency_goes_onto_white(tmp_path):
    save(tmp_path / "a.png", np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 128]]], "uint8"))
    images, *_ = read_folder(tmp_path)
    np.testing.assert_array_equal(images[0, 0, :2], [[255, 0, 0], [255, 255, 255]])
    np.testing.assert_allclose(images[0, 0, 2], [127, 127, 127], atol=1)


def test_grey_with_transparency_goes_onto_white(tmp_path):
    picture = Image.merge("LA", [Image.new("L", (2, 2), 50), Image.new("L", (2, 2), 0)])
    picture.save(tmp_path / "a.png")
    assert (read_folder(tmp_path)[0] == 255).all()


# ---- Sizes


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("orientation", range(10))
def test_the_orientation_that_a_camera_wrote_is_undone(tmp_path, notes, suffix, orientation):
    upright = np.zeros((16, 24), "uint8")
    upright[:8, :8] = 255  # a white corner at the top left
    turns = {
        1: np.asarray,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, -1),
    }
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = np.ascontiguousarray(turns.get(orientation, np.asarray)(upright))
    save(tmp_path / f"a.{suffix}", stored, exif=exif)
    images, *_ = read_folder(tmp_path, say=notes.append)
    np.testing.assert_allclose(images[0, :, :, 0], upright, atol=3)
    assert not notes


def test_different_sizes_are_scaled_and_that_is_said(tmp_path, rng, notes):
    save(tmp_path / "1.png", grey(rng, 20, 30))
    save(tmp_path / "2.png", grey(rng, 30, 20))
    images, *_ = read_folder(tmp_path, say=notes.append)
    assert images.shape == (2, 64, 64, 1)
    assert len(notes) == 1
    assert "2 different sizes" in notes[0]
    assert "64x64" in notes[0]
    assert "--image_size" in notes[0]


@pytest.mark.parametrize(("shape", "expected"), [((128, 100), (128, 100)), ((129, 100), (64, 64)), ((8, 8), (8, 8))])
def test_only_large_images_are_scaled(tmp_path, rng, notes, shape, expected):
    save(tmp_path / "a.png", grey(rng, *shape))
    images, *_ = read_folder(tmp_path, say=notes.append)
    assert images.shape[1:3] == expected
    assert ["large images" in note for note in notes] == ([] if shape == expected else [True])


def test_a_size_that_is_asked_for(tmp_path, rng, notes):
    save(tmp_path / "1.png", grey(rng, 20, 30))
    save(tmp_path / "2.png", grey(rng, 12, 10))
    images, *_ = read_folder(tmp_path, (12, 10), say=notes.append)
    assert images.shape == (2, 12, 10, 1)
    np.testing.assert_array_equal(images[1, :, :, 0], np.asarray(Image.open(tmp_path / "2.png")))
    assert not notes


def test_scaling_crops_at_the_centre_and_keeps_the_proportions(tmp_path):
    wide = np.zeros((20, 60), "uint8")
    wide[:, 20:40] = 200
    save(tmp_path / "a.png", wide)
    assert read_folder(tmp_path, (10, 10))[0][0, 2:-2, 2:-2].min() > 195
    assert read_folder(tmp_path, (10, 30))[0][0, 5, [2, 15, 27], 0].tolist() == [0, 200, 0]


# ---- Folders


def test_the_first_sub_folder_is_the_label(tmp_path, rng):
    for place in ("dog/1.png", "cat/2.png", "cat/old/3.png", "ant/4.png"):
        save(tmp_path / place, grey(rng))
    images, labels, names = read_folder(tmp_path)
    assert names == ("ant", "cat", "dog")
    found = {path.name: names[label] for path, label in zip(find_images(tmp_path), labels, strict=True)}
    assert found == {"1.png": "dog", "2.png": "cat", "3.png": "cat", "4.png": "ant"}
    for path, image in zip(find_images(tmp_path), images, strict=True):
        np.testing.assert_array_equal(image[..., 0], np.asarray(Image.open(path)))


@pytest.mark.parametrize("places", [("cat/1.png", "cat/2.png"), ("1.png", "cat/2.png"), ("1.png", "2.png")])
def test_there_are_no_labels_without_two_sub_folders(tmp_path, rng, places):
    for place in places:
        save(tmp_path / place, grey(rng))
    images, labels, names = read_folder(tmp_path)
    assert len(images) == 2
    assert labels is None
    assert names == ()


def test_a_relative_path_with_a_slash_at_its_end(tmp_path, rng, monkeypatch):
    save(tmp_path / "set" / "a" / "1.png", grey(rng))
    save(tmp_path / "set" / "b" / "2.png", grey(rng))
    monkeypatch.chdir(tmp_path)
    assert read_folder("./set/")[2] == ("a", "b")


def test_hidden_files_are_ignored_and_others_are_counted(tmp_path, rng, notes):
    for place in ("a.png", ".b.png", "._c.png", ".hidden/d.png", "x/.hidden/e.png"):
        save(tmp_path / place, grey(rng))
    for name in ("notes.txt", "Thumbs.db", "e.txt", "png"):
        (tmp_path / name).write_text("no image")
    assert find_images(tmp_path, notes.append) == [tmp_path / "a.png"]
    assert notes == [f"{tmp_path}: 4 files of other kinds, left out: 1 .db, 2 .txt, 1 no suffix."]


def test_the_order_is_that_of_the_names(tmp_path, rng):
    for place in ("b/2.png", "b/10.png", "a/9.png", "c.png"):
        save(tmp_path / place, grey(rng))
    assert [str(p.relative_to(tmp_path)) for p in find_images(tmp_path)] == ["c.png", "a/9.png", "b/10.png", "b/2.png"]


@pytest.fixture
def deep(tmp_path):
    """A folder in a folder, 1,200 times, taken apart again one by one: removing it as one is a recursion."""
    folders = [tmp_path / "deep"]
    for _ in range(1200):
        folders.append(folders[-1] / "d")
    for folder in folders:
        folder.mkdir()
    yield folders[-1]
    for folder in reversed(folders):
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


@pytest.mark.fault(125)
def test_folders_within_folders_without_end(deep, tmp_path, rng):
    save(deep / "1.png", grey(rng))
    save(tmp_path / "2.png", grey(rng))
    images, labels, _ = read_folder(tmp_path)
    assert images.shape == (2, 8, 6, 1)
    assert labels is None
    assert find_images(tmp_path / "deep") == [deep / "1.png"]


def test_links_to_folders_are_followed_once(tmp_path, rng):
    save(tmp_path / "a" / "1.png", grey(rng))
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "nowhere").symlink_to("not there")
    assert find_images(tmp_path) == [tmp_path / "a" / "1.png"]


@pytest.mark.fault(125)
@pytest.mark.parametrize("kind", OTHERS)
def test_an_entry_that_is_no_file_among_the_images(tmp_path, rng, notes, kind):
    """It is named like a damaged one, and can be left out like one."""
    save(tmp_path / "1.png", grey(rng))
    OTHERS[kind](tmp_path / "a.png")
    if kind == "a folder":
        assert find_images(tmp_path) == [tmp_path / "1.png"]
        return
    with pytest.raises(DataError, match=rf"a\.png: expected a file, received {kind}; remove it, or add --skip_damaged"):
        read_folder(tmp_path)
    found = Folder(tmp_path, skip_damaged=True, say=notes.append).read()
    assert found.train.shape == (1, 8, 6, 1)
    assert found.left_out == (1,)


@pytest.mark.fault(175)
@pytest.mark.parametrize("names", [(), ("notes.txt",), (".hidden.png",)])
def test_no_images(tmp_path, names):
    for name in names:
        (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=r"expected images, PNG, JPEG, .*received none") as caught:
        read_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)


# ---- Damage


def damaged(kind, whole):
    """The bytes of a picture, damaged."""
    half = len(whole) // 2
    return {
        "empty": b"",
        "text": b"this is no picture",
        "web page": b"<!DOCTYPE html><html></html>",
        "cut in the header": whole[:20],
        "cut in the middle": whole[:half],
        "scrambled": whole[:half] + bytes(255 - b for b in whole[half : half + 40]) + whole[half + 40 :],
    }[kind]


@pytest.mark.fault(29, 31)
@pytest.mark.parametrize("kind", ["empty", "text", "web page", "cut in the header", "cut in the middle", "scrambled"])
def test_a_damaged_picture_is_named(tmp_path, rng, kind):
    save(tmp_path / "1.png", color(rng, 40, 40))
    save(tmp_path / "2.png", color(rng, 40, 40))
    (tmp_path / "2.png").write_bytes(damaged(kind, (tmp_path / "2.png").read_bytes()))
    with pytest.raises(DataError, match=r"image") as caught:
        read_folder(tmp_path)
    assert str(tmp_path / "2.png") in str(caught.value)


@pytest.mark.fault(29)
@pytest.mark.parametrize("kind", ["empty", "text", "cut in the header", "cut in the middle"])
def test_a_damaged_jpeg_is_named(tmp_path, rng, kind):
    save(tmp_path / "a.jpg", color(rng, 40, 40))
    (tmp_path / "a.jpg").write_bytes(damaged(kind, (tmp_path / "a.jpg").read_bytes()))
    with pytest.raises(DataError, match=r"a\.jpg"):
        read_folder(tmp_path)


@pytest.mark.fault(31)
def test_a_picture_of_another_format_is_refused_whatever_it_is_called(tmp_path, rng):
    save(tmp_path / "a.png", grey(rng), format="PPM")
    with pytest.raises(DataError, match=r"a\.png: expected an image, PNG, .* received something else; remove it$"):
        read_folder(tmp_path)


def test_a_jpeg_called_png_is_read(tmp_path, rng):
    save(tmp_path / "a.png", grey(rng), format="JPEG")
    assert read_folder(tmp_path)[0].shape == (1, 8, 6, 1)


@pytest.mark.fault(171)
@pytest.mark.parametrize("place", range(4))
def test_a_png_with_a_wrong_checksum(tmp_path, rng, place):
    """Its pixels can still be unpacked, and may be wrong."""
    save(tmp_path / "a.png", color(rng))
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[content.index(b"IEND") - 8 + place] ^= 1  # of the pixels before
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: damaged image: broken PNG file"):
        read_folder(tmp_path)


@pytest.mark.fault(171)
@pytest.mark.parametrize("name", [b"tEXt", b"eXIf", b"iCCP", b"zzZz"])
def test_a_block_of_a_png_that_claims_a_gigabyte(tmp_path, rng, name):
    save(tmp_path / "a.png", color(rng))
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[:33] + struct.pack(">I", 2**30) + name + content[33:])
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a\.png: damaged image"):
        read_folder(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("sides", [(100_000, 100_000), (10_000, 10_000)])
def test_a_picture_that_claims_more_pixels_than_any_camera_has(tmp_path, rng, recwarn, sides):
    save(tmp_path / "a.png", grey(rng))
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = struct.pack(">II", *sides)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.png: damaged image: Image size \(10+ pixels\) exceeds"):
        read_folder(tmp_path)
    assert not recwarn


@pytest.mark.fault(174)
def test_more_pixels_in_all_than_memory_can_hold(tmp_path, rng):
    for i in range(3):
        save(tmp_path / f"{i}.png", grey(rng))
    with pytest.raises(DataError, match="would take over 68,719,476,736 bytes; refused") as caught:
        read_folder(tmp_path, (100_000, 100_000))
    assert str(tmp_path) in str(caught.value)


def test_what_pillow_would_warn_of_is_not_shown(tmp_path, recwarn):
    """A TIFF block of metadata that is cut off, as cameras write it."""
    Image.new("L", (8, 8)).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\x00" + bytes(20))
    assert read_folder(tmp_path)[0].shape == (1, 8, 8, 1)
    assert not recwarn


def test_a_folder_called_like_a_picture_is_a_folder(tmp_path, rng):
    save(tmp_path / "a.png" / "1.png", grey(rng))
    assert find_images(tmp_path) == [tmp_path / "a.png" / "1.png"]
