"""Arrays out of pickles: what NumPy writes, and what is read of it."""

import base64
import gzip
import io
import pickle
import re
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bicoder.data.formats.pickles import LARGE, MOST_KEYS, read_views
from bicoder.errors import DataError

few = settings(
    max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PROTOCOLS = range(6)
SMALL = {"m0": np.arange(6, dtype="float32").reshape(2, 3), "m1": np.arange(4, dtype=">i2")}


def zipped(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mnist_color.pkl", content)
    return stream.getvalue()


PACKS = {"bare": bytes, "zip": zipped, "gzip": gzip.compress}


def read(folder, content, *keys):
    """The views under `keys` of a file with this content."""
    (folder / "a.pkl").write_bytes(content)
    return read_views(folder / "a.pkl", list(keys or ["m0"]))


def assert_same(found, array):
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert found.shape == array.shape


# ---- What NumPy writes


ARRAYS = {
    "C order": lambda rng: rng.random((5, 4, 4, 3), dtype="float32"),
    "F order": lambda rng: np.asfortranarray(rng.random((5, 4, 4, 3))),
    "channels moved": lambda rng: np.moveaxis(rng.random((5, 3, 4, 4), dtype="float32"), 1, -1),
    "sliced": lambda rng: rng.random((10, 8, 4, 3))[::2, ::-2],
    "read-only": lambda rng: np.broadcast_to(rng.random(3), (4, 3)),
    "uint8": lambda rng: rng.integers(0, 256, (5, 4, 4, 3), "uint8"),
    "uint16": lambda rng: rng.integers(0, 65536, (5, 4), "uint16"),
    "bool": lambda rng: rng.random((5, 4)) < 0.5,
    "float16": lambda rng: rng.random((5, 4)).astype("float16"),
    "big-endian float64": lambda rng: rng.random((5, 4)).astype(">f8"),
    "big-endian, F order": lambda rng: np.asfortranarray(rng.random((5, 4))).astype(">f4", order="F"),
    "no dimension": lambda rng: rng.random(()),
    "larger than a frame": lambda rng: rng.random((3, LARGE), dtype="float32"),
    "large, F order": lambda rng: np.asfortranarray(rng.random((3, LARGE), dtype="float32")),
    "large, sliced": lambda rng: rng.random((3, LARGE), dtype="float32")[:, ::-2],
}


@pytest.mark.fault(35, 57)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays_come_back_equal(tmp_path, rng, kind, protocol):
    array = np.asarray(ARRAYS[kind](rng))
    others = {"m0": np.arange(3), "m4": np.arange(4.0)}
    content = pickle.dumps({"m0": others["m0"], "m1": array, "m4": others["m4"]}, protocol)
    for found, expected in zip(
        read(tmp_path, content, "m4", "m1", "m0"), (others["m4"], array, others["m0"]), strict=True
    ):
        assert_same(found, expected)


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_an_array_without_elements_comes_back_equal(tmp_path, protocol):
    array = np.empty((0, 28, 28, 3), "float32")
    assert_same(read(tmp_path, pickle.dumps({"m0": array}, protocol))[0], array)


@pytest.mark.fault(57)
@few
@given(
    array=hnp.arrays(
        st.one_of(hnp.integer_dtypes(), hnp.unsigned_integer_dtypes(), hnp.floating_dtypes(sizes=(16, 32, 64))),
        hnp.array_shapes(min_dims=1, max_dims=4, max_side=4),
    ),
    protocol=st.sampled_from(PROTOCOLS),
    order=st.permutations(range(4)),
)
def test_any_array_of_numbers_comes_back_equal(tmp_path, array, protocol, order):
    turned = array.transpose([axis for axis in order if axis < array.ndim])
    assert_same(read(tmp_path, pickle.dumps({"m0": turned}, protocol))[0], turned)


@pytest.mark.fault(44)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_array_under_two_keys_and_other_values_beside_it(tmp_path, protocol):
    array = np.arange(5.0)
    data = {"m0": array, "m1": array, "version": 3, "scale": 0.5, "note": "é", "raw": b"\xff", "none": None, 7: True}
    for found in read(tmp_path, pickle.dumps(data, protocol), "m1", "m0"):
        assert_same(found, array)


def renamed(content, package):
    """A pickle as the NumPy whose internals are called `package` would have written it."""

    def rename(found):
        name = b"numpy." + package + b"." + found[2]
        return (b"c" if found[1] == b"c" else bytes([len(name)])) + name

    return re.sub(rb"(.)numpy\._?core\.(multiarray|numeric)", rename, content, flags=re.DOTALL)


@pytest.mark.fault(57)
@pytest.mark.parametrize("package", [b"core", b"_core"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("step", [1, -1])
def test_the_names_of_both_numpys(tmp_path, package, protocol, step):
    array = np.arange(12.0).reshape(3, 4)[::step]
    content = renamed(pickle.dumps({"m0": array}, protocol), package)
    assert b"numpy." + package + b"." in content
    assert b"numpy." + (b"_core" if package == b"core" else b"core") + b"." not in content
    assert_same(read(tmp_path, content)[0], array)


# What NumPy 1.26.4 wrote for `WRITTEN`, deflated; one for every protocol.
BY_NUMPY_1 = [
    (
        "eNplkT1vgzAQhtWM7y9hKbLPfC7ZWRg6MFWKwFCElIDFx8CPb+hdIWqiIh0+2Xf3vK/t1U6hsHAatl9ubvXtMDb+bbnOXTmO5YrL2Nih"
        "n+ZxsTMcwdvr0Nf7uTPwMoXZBbAXO9SNndD0ksCF8IoKLkJxLeeu13AxFyb4cCmvWnGiNbdLEDIjm3QIQT2vjmdonl90xEmATCkOLWWh"
        "9EbcZ1Cc+TBGnufZu8ZviB6doJKGVlRs39t92z4Xxd/z/21fTjwhRSvqSFSRMIhQTcUXmzZo2Xj7cEoBWjFAIoKiVwMUo2VhIvMgP/O2"
        "+8F9iGEyJQc55XFGAEYLeeK7pVeyMTvZBFIa/pFJNqODfHj+7/bE17Dx1HgHGnkJI/MCxUD/B7DRkZo="
    ),
    (
        "eNpNj8tOwzAQRR0HCpgCpbzfb/AqSvkA9iVSFl51VzVOUCK1aW86WXTBp9Eu+mFgJ5XKSDNjy3fOXH+DyZ7DGNNwdF6OJjNPj4vEG5VD"
        "ygZFMZiJfpHocT6lotQkwGUtE3lcP8OVASNs6L4ex4meiiS3B4HNGhyh0WuYPhxQlnewRdhW2CEIhV0ZODLggUtorqgxzSZmdk/2uJnJ"
        "3rHf9X3R9TuCcKDQkoFbUT9wGIbh56+JqlgL7chqU7O3bRTLxfLH5NzkwlwdxnGUmu3HCieE06jCfOEs5TKtv3CeGlsXCpdrW1dpy+7+"
        "z6zqnDkVl+PaMm8Ubgl3NXOK+zXzwTIfFZ5WTE54tszaZ5NVwVdeF3ixtFeFN4KMSu8Pk7V7rg=="
    ),
    (
        "eNpNjslOwzAQhh2HFjAFStn3HXKqBA/AA2ApB59yqxo3yJXatH/iHHJA4kKXh6I99MHAcQpipBnbmpnP3wd9B/EChxAi4cg46w/zphwk"
        "UbOf9XS3nSTtnLWSSA7iVCeZ1Ay0nGJxp+zC5eQTK7IlB51IpiyKiwtDxVJDVIOqOXtt3Y2fsDrCmsD6GExgw+MOp9wdobZEdnQ+NJub"
        "ATUb3WdsTSdjbAvUPe5a2gt2fN9//TZhCycajXCqKkHDdBfzxZfJmcm5eTqEYleZH/cE9jUOQot4w6GiyjofKSNyLHDyJ3Kq6pN/MFtn"
        "xLFAirMCdi5woXFZwlJc/cKuC9iNwG0JoyPcqXphViM26NJujvsC8yDwqOGFWfMH66Z6Jw=="
    ),
    (
        "eNo9jTtPwzAURq8doMUEKO83c6YM/ACWbFjKkKkbatwgV6JpP9cZMiCx0DY/mho3Ae7wLfccnc/gAxQNGREpMFVW03kdq5kp4mn1bicj"
        "Y0a1eDWFmpULayplBXhHiXLcfRFI+sJOwnLsrrCXoRdJJrkMluj/omNbzwuB/SH3nckTRLNe4SBDGMmgbT/jME3TF+evHUkWR3mThO7b"
        "bZzzBCOOY4tB3vJvONFct+FT7atnGc7/qxc6XG9NIrch5m2OS4urzlzg+s+82Zq3Ge46ky9xr8Mm6XuK+67Dg8VjXsU/6GddZw=="
    ),
    (
        "eNptjr0OgjAUhdsqURMXB9+BicEHcGGzCYMvYAAxkAiYWgYGExd/SLpxfFkTrS24mHiGO9z7nXPuefh4kl4nuIrGUPOiyg+1F5ci8fJq"
        "L7NQiLCGmm5EEpfFUYoqlmihnA6EGhXbHmnByQU+jXDDGi6nnPHBFamjnK2sD4k1sWyB5t7fB4ouEQTBSht1gxOJqPGn+qXfWpunKGEw"
        "K0V3SIfpyOank9/02d3yhOg3ocbz5Y9/eWb5xh+bZGY6tGUr7wNQl2bf"
    ),
    (
        "eNpNT01Lw0AQ3dlaLbQnQfwLOeXgD+gl4MGFHPwDpUk3JGCSst099CB4sVqYW5/+W7sOiUIH5oOZN/PevE2/7kkN9oqEqQTfdqHd7tOy"
        "dzaV0rpGmvNV5fq2CFVlHU5Ivhfjkoo/8RyjFKQ0eDrsSt74/dYKkHXzgOPnB56RmAnTEnmeP0WxIRjlURhtJgcwZfACY6pQX10SiJ8V"
        "CYlGPf8HP/6Bd+C7C8FtePHN2rm1iFisnC37buddKL1oqa/5ptuMwxOMekdGBUZpJHf1Qe4fs5mQankrCkMR0l+pym8P"
    ),
]
WRITTEN = np.arange(-3, 3, dtype=">i2").reshape(2, 3)


@pytest.mark.fault(57)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_numpy_1_wrote(tmp_path, protocol):
    content = zlib.decompress(base64.b64decode(BY_NUMPY_1[protocol]))
    assert b"numpy.core." in content
    for key, array in {"c": WRITTEN, "f": np.asfortranarray(WRITTEN), "s": WRITTEN[::-1, ::2]}.items():
        assert_same(read(tmp_path, content, key)[0], array)


def test_python_2_wrote_bytes_as_text(tmp_path):
    numbers = np.array([1, 250], "<u2").tobytes()
    content = (
        b"\x80\x02}U\x02m0cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02u2K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U" + bytes([len(numbers)]) + numbers + b"tbs."
    )
    assert_same(read(tmp_path, content)[0], np.array([1, 250], "<u2"))


# ---- What is read, and what is not


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_only_the_wanted_view_is_read(tmp_path, protocol, pack):
    views = {f"m{i}": np.full((1024, 4096), i, "float32") for i in range(5)}  # five times 16 MiB
    (tmp_path / "a.pkl").write_bytes(PACKS[pack](pickle.dumps(views, protocol)))
    tracemalloc.start()
    [found] = read_views(tmp_path / "a.pkl", ["m3"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_same(found, views["m3"])
    # A view and a little; zipfile skips in blocks of 16 MiB.
    assert peak < (1.2 if pack == "bare" else 2.3) * found.nbytes


@pytest.mark.fault(31)
@pytest.mark.parametrize("pack", PACKS)
def test_a_file_holds_the_dictionary_whatever_it_is_called(tmp_path, pack):
    content = PACKS[pack](pickle.dumps(SMALL))
    for name in ("mnist_color.pkl", "a.npy", "a.zip", "a"):
        (tmp_path / name).write_bytes(content)
        assert_same(read_views(tmp_path / name, ["m1"])[0], SMALL["m1"])


@pytest.mark.fault(44)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_missing_key_lists_the_keys_that_are_there(tmp_path, protocol):
    data = SMALL | {"extra": 1, 7: 2}
    with pytest.raises(DataError, match=r"a\.pkl: expected an array under the key 'm3', .*keys 7, extra, m0, m1$"):
        read(tmp_path, pickle.dumps(data, protocol), "m0", "m3")


@pytest.mark.fault(44)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_views_of_different_length(tmp_path, protocol):
    data = {"m0": np.zeros((4, 2)), "m1": np.zeros((3, 2)), "mean": np.zeros(2), "count": 4, "m3": np.zeros(())}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(data, protocol))
    with pytest.raises(DataError, match=r"a\.pkl: expected as many images in every view, received m0 4, m1 3$"):
        read_views(tmp_path / "a.pkl", ["m0"], ("m0", "m1", "m2", "m3", "count"))
    assert read_views(tmp_path / "a.pkl", ["m0"], ("m0", "m2", "m3"))[0].shape == (4, 2)
    assert read_views(tmp_path / "a.pkl", ["m1"])[0].shape == (3, 2)


@pytest.mark.fault(44)
def test_keys_are_listed_in_one_line_whatever_they_hold(tmp_path):
    data = {"a\nb": 1, "\x1b[31mred": 2, "x" * 1000: 3, b"\xff": 4, 10**600: 5} | {f"k{i}": i for i in range(100)}
    with pytest.raises(DataError, match="expected an array under the key 'm0', received the keys") as caught:
        read(tmp_path, pickle.dumps(data))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500


def test_there_may_be_many_keys_but_not_any_number(tmp_path):
    data = {f"k{i}": i for i in range(MOST_KEYS - 1)} | {"m0": SMALL["m0"]}
    for protocol in (0, 4):
        assert_same(read(tmp_path, pickle.dumps(data, protocol))[0], SMALL["m0"])
        with pytest.raises(DataError, match="more than 1,000 keys"):
            read(tmp_path, pickle.dumps(data | {"one more": 1}, protocol))


def test_a_key_without_an_array_and_an_empty_dictionary(tmp_path):
    with pytest.raises(DataError, match="an array under the key 'm0', received the keys m0"):
        read(tmp_path, pickle.dumps({"m0": 3}))
    with pytest.raises(DataError, match="received the keys nothing"):
        read(tmp_path, pickle.dumps({}))


@pytest.mark.fault(177)
@pytest.mark.parametrize("data", [np.arange(3.0), 3, "m0", None, (1, 2), b"m0"])
def test_what_is_no_dictionary(tmp_path, data):
    with pytest.raises(DataError, match="expected a pickled dictionary of arrays, received"):
        read(tmp_path, pickle.dumps(data))


@pytest.mark.fault(44)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("data", [[1], {"m0": [1]}, {"m0": {1}}, {("m", 0): 1}, {None: 1}, {1.5: 1}])
def test_what_no_dictionary_of_arrays_holds(tmp_path, data, protocol):
    with pytest.raises(DataError, match="expected a pickled dictionary of arrays"):
        read(tmp_path, pickle.dumps(data, protocol))


@pytest.mark.fault(29, 31)
@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"\x93NUMPY", b"hello world", b"PK\x03\x04", b"\x1f\x8b"])
def test_what_is_no_pickle(tmp_path, content):
    with pytest.raises(DataError, match=r"a\.pkl"):
        read(tmp_path, content)
