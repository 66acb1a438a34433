"""What a report is made of in Python: text that is no markup, images, the nearest ones, what is kept."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from bicoder.engine.arrays.masked import Masked
from bicoder.errors import UsageError, decodable
from bicoder.files.named_arrays import write_arrays
from bicoder.pictures.report import kept, markup
from bicoder.pictures.report.kept import Kept
from bicoder.pictures.report.nearest import nearest

HOSTILE = ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "<!--", "\u2028", "&lt;", "\udce9"]


@pytest.mark.fault(227)
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_text_is_no_markup_and_says_the_same(name):
    shown = decodable(name)
    assert not set("<>\"'") & set(markup.text(name))
    written = markup.block({"name": shown})
    assert not set("<>&\u2028\u2029") & set(written)
    assert json.loads(written) == {"name": shown}
    written.encode("utf-8")


def test_numbers_that_json_has_no_word_for_are_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        markup.block({"nll": float("nan")})


def image_in(html):
    found = re.search(r'src="data:image/(\w+);base64,([^"]+)"', html)
    return found[1], np.asarray(Image.open(io.BytesIO(base64.b64decode(found[2]))))


def test_a_sheet_has_the_images_in_their_places_and_every_grey_value(rng):
    images = rng.integers(256, size=(7, 3, 4)).astype("uint8")
    html, exact = markup.sheet(images.astype("float32") / 255.0, 5, "sheet-0")
    kind, sheet = image_in(html)
    assert (kind, exact, sheet.shape) == ("png", True, (6, 20))
    for i, image in enumerate(images):
        top, left = 3 * (i // 5), 4 * (i % 5)
        np.testing.assert_array_equal(sheet[top : top + 3, left : left + 4], image)


def test_a_sheet_that_is_too_large_comes_as_jpeg_and_says_so(rng, monkeypatch):
    monkeypatch.setattr(markup, "LOSSLESS", 1000)
    smooth = np.linspace(0.0, 1.0, 64)[None, :, None, None] * np.ones((4, 64, 64, 3))
    noise = rng.random((4, 64, 64, 3))
    html, exact = markup.sheet((0.95 * smooth + 0.05 * noise).astype("float32"), 2, "sheet-0")
    kind, sheet = image_in(html)
    assert (kind, exact, sheet.shape) == ("jpeg", False, (128, 128, 3))
    assert np.abs(sheet[:64, :64] / 255.0 - smooth[0]).mean() < 0.05


def by_sorting(images, training):
    return np.argsort(np.square(images[:, None] - training[None]).sum(axis=-1), axis=1, kind="stable")


def test_the_nearest_images_are_those_of_sorting_all_distances(rng, monkeypatch):
    images, training = rng.random((3, 6), "float32"), rng.random((500, 6), "float32")
    monkeypatch.setattr("bicoder.pictures.report.nearest.ROWS", 64)
    numbers, among = nearest(images, training, 5)
    np.testing.assert_array_equal(numbers, by_sorting(images, training)[:, :5])
    assert among == 500
    images[1] = training[321]
    assert nearest(images, training, 5)[0][1, 0] == 321


def test_of_fewer_training_images_than_are_wanted_all_are_near(rng):
    numbers, among = nearest(rng.random((2, 3), "float32"), rng.random((4, 3), "float32"), 5)
    assert (np.sort(numbers, axis=1) == np.arange(4)).all()
    assert among == 4


def test_of_very_many_training_images_the_first_are_looked_at(rng, monkeypatch):
    monkeypatch.setattr("bicoder.pictures.report.nearest.MOST", 60)
    images, training = rng.random((2, 6), "float32"), rng.random((500, 6), "float32")
    numbers, among = nearest(images, training, 3)
    assert among == 10
    np.testing.assert_array_equal(numbers, by_sorting(images, training[:10])[:, :3])


def test_views_are_near_together_and_what_is_missing_is_zero(rng):
    images = {"a": rng.random((2, 3), "float32"), "b": rng.random((2, 2, 2), "float32")}
    training = {"a": rng.random((50, 3), "float32"), "b": rng.random((50, 2, 2), "float32")}
    there = np.ones(50, "float32")
    there[7] = 0.0
    zero = training["b"] * there[:, None, None]
    numbers, _ = nearest(images, {"a": training["a"], "b": Masked(training["b"], there)}, 4)
    flat = [np.concatenate([x["a"], x["b"].reshape(len(x["b"]), 4)], axis=1) for x in (images, training | {"b": zero})]
    np.testing.assert_array_equal(numbers, by_sorting(*flat)[:, :4])


@pytest.fixture
def some(rng):
    near = rng.integers(256, size=(2, 6, 3, 4)).astype("uint8")
    return Kept(np.array([4, 1, 2]), rng.random((3, 2), "float32"), near, np.array([50, 60]))


def test_what_is_kept_is_read_again(some, tmp_path):
    page = tmp_path / "report.html"
    assert kept.read(page) is None
    kept.write(page, some)
    assert [path.name for path in tmp_path.iterdir()] == ["report.safetensors"]
    for ours, read in zip(some, kept.read(page), strict=True):
        np.testing.assert_array_equal(ours, read)


@pytest.mark.fault(226)
@pytest.mark.parametrize(
    "changed",
    [
        {"points": np.zeros((2, 2), "float32")},
        {"points": np.full((3, 2), np.nan, "float32")},
        {"points": np.zeros((3, 2), "float64")},
        {"chosen": np.zeros((3, 1), "int64")},
        {"near": np.zeros((2, 6, 3, 4), "float32")},
        {"near": np.zeros((2, 3), "uint8")},
        {"among": np.zeros(5, "int64")},
    ],
    ids=["fewer points", "NaN", "float64", "axes", "no bytes", "no images", "counts"],
)
def test_what_somebody_else_wrote_is_found_out_anew(changed, some, tmp_path):
    page = tmp_path / "report.html"
    write_arrays(kept.path_of(page), some._asdict() | changed, {}, UsageError)
    assert kept.read(page) is None


@pytest.mark.fault(226)
@pytest.mark.parametrize("content", [b"", b"no arrays", b"\xff" * 100], ids=["empty", "text", "a long header"])
def test_another_file_in_its_place_is_found_out_anew(content, tmp_path):
    (tmp_path / "report.safetensors").write_bytes(content)
    assert kept.read(tmp_path / "report.html") is None


@pytest.mark.fault(226)
def test_a_link_in_its_place_is_not_followed(some, tmp_path):
    kept.write(tmp_path / "elsewhere.html", some)
    (tmp_path / "report.safetensors").symlink_to(tmp_path / "elsewhere.safetensors")
    assert kept.read(tmp_path / "report.html") is None
