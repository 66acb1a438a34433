"""One image file: every format that is read, and what of it is refused."""

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image, features

from bicoder.data.datasets import Folder
from bicoder.data.formats.images import FORMATS, NAMES, Plan, quiet, read_image
from bicoder.data.loader import DataLoader
from bicoder.errors import DataError

LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}
LOSSY = {"JPEG": {"quality": 95}, "AVIF": {"quality": 95}, "GIF": {}}
PACKED = ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate")


def folder_of(path, images, suffix="png", **options):
    path.mkdir(exist_ok=True)
    for i, image in enumerate(images):
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        picture.save(path / f"{i:03d}.{suffix}", **options)
    return path


def read(path, notes=None, **options):
    return Folder(path, say=(notes if notes is not None else []).append, **options).read().train


def smooth(height=12, width=10):
    """A picture in colour that lossy formats keep."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([100 + 3 * rows, 120 + 4 * columns, np.full_like(rows, 90)], -1).astype("uint8")


@pytest.mark.fault(96)
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_read_by_its_suffix_and_its_bytes(tmp_path, kind):
    for suffix in NAMES[kind]:
        path = tmp_path / suffix
        path.mkdir()
        Image.fromarray(smooth()).save(path / f"a{suffix}", kind, **LOSSLESS.get(kind, LOSSY.get(kind, {})))
        found = read(path)[0].astype(int)
        assert abs(found - smooth()).max() <= (0 if kind in LOSSLESS else 20 if kind == "GIF" else 6)


def test_formats_are_those_of_this_pillow():
    assert ("AVIF" in FORMATS) == ("avif" in features.modules and features.check("avif"))
    assert {"PNG", "JPEG", "TIFF", "BMP", "GIF"} <= set(FORMATS)


@pytest.mark.fault(96)
def test_no_file_beside_png_is_dropped_unsaid(tmp_path, rng):
    """A fifth of each, and what is no image is counted by its suffix."""
    for i, suffix in enumerate(("png", "webp", "tiff", "bmp", "gif")):
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), "uint8")).save(tmp_path / f"{i}.{suffix}")
    for name in ("a.heic", "b.heic", "list.csv"):
        (tmp_path / name).write_bytes(b"?")
    notes = []
    assert len(read(tmp_path, notes)) == 5
    assert notes == [f"{tmp_path}: 3 files of other kinds, left out: 1 .csv, 2 .heic."]


@pytest.mark.fault(96)
@pytest.mark.parametrize("kind", ["TIFF", "GIF", "WEBP", "PNG"])
def test_of_several_pages_the_first_is_read_and_that_is_said(tmp_path, kind):
    pages = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    pages[0].save(tmp_path / f"a{NAMES[kind][0]}", kind, save_all=True, append_images=pages[1:])
    notes = []
    assert (read(tmp_path, notes)[0, 0, 0] // 250).tolist() == [1, 0, 0]
    assert notes == [f"{tmp_path}: several pages or frames in 1 of 1 image: the first of each is read."]


# ---- Bits


@pytest.mark.fault(96)
@pytest.mark.parametrize(("bits", "divisor"), [(10, 1023), (12, 4095), (14, 16383), (16, 65535)])
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_the_bits_that_are_used_are_those_that_pixels_are_divided_by(tmp_path, capsys, bits, divisor, suffix):
    levels = np.linspace(0, divisor, 600).astype("uint16").reshape(6, 10, 10)
    loader = DataLoader(folder_of(tmp_path / "set", levels, suffix))
    found = np.concatenate([loader.training_images, loader.test_images])
    assert (found.min(), found.max()) == (0, 1)
    assert len(np.unique(found)) == len(np.unique(levels)), "no grey level is lost"
    assert loader.scaling == (divisor, False)
    said = f"values up to {divisor} are taken as 0 to {divisor} and divided by {divisor}."
    assert (said in capsys.readouterr().err) == (bits < 16)


@pytest.mark.fault(96)
def test_an_array_of_twelve_bits_in_sixteen(rng, capsys):
    loader = DataLoader(rng.integers(0, 4096, (30, 6, 6)).astype("uint16"))
    assert loader.training_images.max() > 0.99
    assert "taken as 0 to 4095" in capsys.readouterr().err


def test_sixteen_bits_are_scaled_without_a_step(tmp_path):
    """Lanczos may leave the range at an edge."""
    edge = np.zeros((40, 40), "uint16")
    edge[:, 20:] = 65535
    found = read(folder_of(tmp_path / "set", [edge]), image_size=(10, 10))
    assert found.dtype == "uint16"
    assert (found[0, 5, 0, 0], found[0, 5, -1, 0]) == (0, 65535)


def test_sixteen_bits_among_eight(tmp_path, rng):
    eight, deep = rng.integers(0, 256, (5, 5), "uint8"), rng.integers(0, 65536, (5, 5)).astype("uint16")
    deep[0, 0] = 65535
    notes = []
    found = read(folder_of(tmp_path / "set", [eight, deep]), notes)
    np.testing.assert_array_equal(found[..., 0], [eight.astype("uint16") * 257, deep])
    assert "16 bits of grey in 1 of 2 images, and eight in the others: all are read as 16." in notes[0]


@pytest.mark.fault(173)
def test_twelve_bits_among_eight_are_refused(tmp_path, rng):
    eight, deep = rng.integers(0, 256, (5, 5), "uint8"), rng.integers(0, 4096, (5, 5)).astype("uint16")
    with pytest.raises(DataError, match=r"16 bits of grey in 1 of 2 images, with values up to [\d,]+ alone"):
        read(folder_of(tmp_path / "set", [eight, deep]))


def test_sixteen_bits_of_each_colour_are_said(tmp_path):
    """Pillow cannot write one."""
    import zlib

    def block(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + struct.pack(">6H", *range(0, 60000, 10000)) for _ in range(2))
    content = b"\x89PNG\r\n\x1a\n" + block(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    (tmp_path / "a.png").write_bytes(content + block(b"IDAT", zlib.compress(rows)) + block(b"IEND", b""))
    notes = []
    assert read(tmp_path, notes)[0, 0, 1].tolist() == [30000 >> 8, 40000 >> 8, 50000 >> 8]
    assert notes == [f"{tmp_path}: 16 bits of each colour in 1 of 1 image: the upper eight are read."]


@pytest.mark.fault(96)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_numbers_that_are_no_shades_of_grey_are_refused_by_name(tmp_path, dtype):
    image = np.array([[-3, 100_000]], dtype)
    said = "received real numbers" if dtype == "float32" else "received some from -3 to 100000"
    with pytest.raises(DataError, match=rf"000\.tiff: damaged image: expected grey values of 8 or 16 bits, {said}"):
        read(folder_of(tmp_path / "set", [image], "tiff"))


@pytest.mark.fault(96)
def test_a_file_of_real_numbers_is_refused_in_one_word(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.linspace(-3, 12, 90).reshape(10, 3, 3))
    with pytest.raises(DataError, match=r"expected pixels in \[0, 1\] or \[0, 255\], received values from -3 to 12"):
        DataLoader(tmp_path / "x.npy")
    assert capsys.readouterr().err == ""


# ---- What is refused


@pytest.mark.fault(172)
@pytest.mark.parametrize("packed", [*PACKED, "jpeg", "tiff_ccitt", "zstd"])
def test_a_tiff_is_unpacked_by_few_methods(tmp_path, packed):
    mode = "1" if packed == "tiff_ccitt" else "L"
    folder_of(tmp_path / "set", [Image.new(mode, (9, 7))], "tif", compression=packed)
    if packed in PACKED:
        assert read(tmp_path / "set").shape == (1, 7, 9, 1)
    else:
        with pytest.raises(DataError, match=rf"000\.tif: damaged image: a TIFF that is packed as {packed} is not read"):
            read(tmp_path / "set")


@pytest.mark.parametrize("chunk", [b"VP8X", b"VP8L", b"VP8 "])
def test_a_webp_that_claims_more_pixels_than_any_camera_has(tmp_path, chunk):
    head = {
        b"VP8X": bytes(4) + b"\xff\xff\x00" * 2,
        b"VP8L": b"\x2f" + struct.pack("<I", 2**28 - 1),
        b"VP8 ": bytes(3) + b"\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383),
    }[chunk]
    (tmp_path / "a.webp").write_bytes(b"RIFF" + struct.pack("<I", 100) + b"WEBP" + chunk + bytes(4) + head + bytes(80))
    with pytest.raises(DataError, match=r"a\.webp: damaged image: Image size \(\d+ pixels\) exceeds limit"):
        read(tmp_path)


@pytest.mark.fault(172)
def test_a_tile_of_a_tiff_that_claims_more_than_any_image(tmp_path):
    tags = {256: 8, 257: 8, 258: 8, 259: 5, 262: 1, 277: 1, 322: 2**20, 323: 2**20, 324: 8, 325: 64}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    (tmp_path / "a.tif").write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(100))
    with pytest.raises(DataError, match=r"a\.tif: damaged image: Image size \(1099511627776 pixels\) exceeds limit"):
        read(tmp_path)


def test_a_pipe_does_not_hold_the_program_up(tmp_path):
    import os

    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: expected a file, received a FIFO; remove it"):
        read(tmp_path)


def test_pillow_keeps_its_filters_of_warnings(tmp_path):
    before = list(warnings.filters)
    read(folder_of(tmp_path / "set", [smooth()]))
    assert warnings.filters == before


# ---- Scaling


@pytest.mark.fault(110)
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_is_scaled_while_it_is_unpacked_and_that_alone_is_other(tmp_path, rng, orientation):
    """Of a PNG, the pixels are those of Lanczos' filter on all of it; of a JPEG, those after Pillow's `draft`."""
    from PIL import ImageOps

    small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), "uint8"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    small.resize((320, 240)).save(tmp_path / "a.jpg", quality=95, exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        image.draft(None, (48, 32) if orientation == 6 else (32, 48))
        assert max(image.size) < 320
        expected = ImageOps.fit(ImageOps.exif_transpose(image), (32, 48), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(read(tmp_path, image_size=(48, 32))[0], np.asarray(expected))


def test_an_image_alone(tmp_path):
    Image.fromarray(smooth()).save(tmp_path / "a.bmp")
    with quiet():
        look, pixels = read_image(tmp_path / "a.bmp", lambda look: Plan(look.size, look.grey, look.deep))
        assert read_image(tmp_path / "a.bmp", lambda look: None) == (look, None)
    assert (look.size, look.grey, look.deep) == ((12, 10), False, False)
    np.testing.assert_array_equal(pixels, smooth())


def test_bytes_of_a_picture_are_read_whatever_they_are_called(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(smooth()).save(stream, "BMP")
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    np.testing.assert_array_equal(read(tmp_path)[0], smooth())
