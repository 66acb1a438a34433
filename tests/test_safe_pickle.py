"""Arrays out of pickles that may come from anyone: what is read, and that nothing is ever run."""

import codecs
import contextlib
import gzip
import importlib
import io
import operator
import os
import pickle
import re
import struct
import subprocess
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bicoder.errors import DataError
from bicoder.safe_pickle import LARGE, MOST_OPCODES, read_views

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


@pytest.mark.parametrize("package", [b"core", b"_core"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("step", [1, -1])
def test_the_names_of_both_numpys(tmp_path, package, protocol, step):
    array = np.arange(12.0).reshape(3, 4)[::step]
    content = renamed(pickle.dumps({"m0": array}, protocol), package)
    assert b"numpy." + package + b"." in content
    assert b"numpy." + (b"_core" if package == b"core" else b"core") + b"." not in content
    assert_same(read(tmp_path, content)[0], array)


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


@pytest.mark.parametrize("pack", PACKS)
def test_a_file_holds_the_dictionary_whatever_it_is_called(tmp_path, pack):
    content = PACKS[pack](pickle.dumps(SMALL))
    for name in ("mnist_color.pkl", "a.npy", "a.zip", "a"):
        (tmp_path / name).write_bytes(content)
        assert_same(read_views(tmp_path / name, ["m1"])[0], SMALL["m1"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_missing_key_lists_the_keys_that_are_there(tmp_path, protocol):
    data = SMALL | {"extra": 1, 7: 2}
    with pytest.raises(DataError, match=r"a\.pkl: expected an array under the key 'm3', .*keys 7, extra, m0, m1$"):
        read(tmp_path, pickle.dumps(data, protocol), "m0", "m3")


def test_a_key_without_an_array_and_an_empty_dictionary(tmp_path):
    with pytest.raises(DataError, match="an array under the key 'm0', received the keys m0"):
        read(tmp_path, pickle.dumps({"m0": 3}))
    with pytest.raises(DataError, match="received the keys nothing"):
        read(tmp_path, pickle.dumps({}))


@pytest.mark.parametrize("data", [np.arange(3.0), 3, "m0", None, (1, 2), b"m0"])
def test_what_is_no_dictionary(tmp_path, data):
    with pytest.raises(DataError, match="expected a pickled dictionary of arrays, received"):
        read(tmp_path, pickle.dumps(data))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("data", [[1], {"m0": [1]}, {"m0": {1}}, {("m", 0): 1}, {None: 1}, {1.5: 1}])
def test_what_no_dictionary_of_arrays_holds(tmp_path, data, protocol):
    with pytest.raises(DataError, match="expected a pickled dictionary of arrays"):
        read(tmp_path, pickle.dumps(data, protocol))


@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"\x93NUMPY", b"hello world", b"PK\x03\x04", b"\x1f\x8b"])
def test_what_is_no_pickle(tmp_path, content):
    with pytest.raises(DataError, match=r"a\.pkl"):
        read(tmp_path, content)


# ---- Attacks. None of these pickles is ever unpickled: `ran` must not exist afterwards.


class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


CALLS = {
    "os.system": lambda marker: Call(os.system, f"touch {marker}"),
    "eval": lambda marker: Call(eval, f"open({marker!r}, 'w')"),
    "exec": lambda marker: Call(exec, f"open({marker!r}, 'w')"),
    "open": lambda marker: Call(open, marker, "w"),
    "Popen": lambda marker: Call(subprocess.Popen, ("touch", marker)),
    "import_module": lambda marker: Call(importlib.import_module, "this"),
    "getattr": lambda marker: Call(getattr, Call(importlib.import_module, "os"), "system"),
    "operator.attrgetter": lambda marker: Call(operator.attrgetter, "system"),
    "numpy.load": lambda marker: Call(np.load, marker),
    "_codecs.encode idna": lambda marker: Call(codecs.encode, "x" * 1000, "idna"),
    "_codecs.encode zlib": lambda marker: Call(codecs.encode, b"x", "zlib"),
    "_codecs.encode utf-8": lambda marker: Call(codecs.encode, "x", "utf-8"),
    "_codecs.decode": lambda marker: Call(codecs.decode, b"x", "zlib"),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("attack", CALLS)
def test_a_call_of_anything_else_is_refused_and_not_made(tmp_path, attack, protocol):
    marker = tmp_path / "ran"
    content = pickle.dumps(SMALL | {"m2": CALLS[attack](str(marker))}, protocol)
    with pytest.raises(DataError, match=r"'[\w.]+' is not allowed|arguments that no array has"):
        read(tmp_path, content)
    assert not marker.exists()


def text(value):
    """The opcode of a short text or of short bytes."""
    raw = value.encode() if isinstance(value, str) else value
    return (b"\x8c" if isinstance(value, str) else b"C") + bytes([len(raw)]) + raw


def under_m0(opcodes):
    """A pickle of protocol 4 of a dictionary with what `opcodes` make under m0."""
    return b"\x80\x04}" + text("m0") + opcodes + b"s."


def array_of(data=b"C\x08" + bytes(8), shape=b"K\x02\x85", code="f4", state=b"t", arguments=b"K\x00\x85C\x01b"):
    """The opcodes of an array, of which any part can be replaced."""
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + arguments + b"tR"
    dtype = (
        b"cnumpy\ndtype\n"
        + text(code)
        + b"\x89\x88\x87R(K\x03"
        + text("<")
        + b"NNN"
        + b"J\xff\xff\xff\xff" * 2
        + b"K\x00tb"
    )
    return made + b"(K\x01" + shape + dtype + b"\x89" + data + state + b"b"


def named(module, name):
    """STACK_GLOBAL, whose names are text that can come from anywhere."""
    return text(module) + text(name) + b"\x93"


TOUCH = text("touch ran") + b"\x85R"
MAKE = text("open('ran', 'w')") + b"\x85R"
NAMES = {
    "os.system": b"cos\nsystem\n" + TOUCH,
    "posix.system": named("posix", "system") + TOUCH,
    "os.system out of the memo": text("os") + b"\x940" + text("system") + b"\x940h\x00h\x01\x93" + TOUCH,
    "builtins.eval": named("builtins", "eval") + MAKE,
    "__builtin__.eval": b"c__builtin__\neval\n" + MAKE,
    "numpy.f2py": b"cnumpy.f2py.crackfortran\ngetlincoef\n" + text("open('ran', 'w')") + b"}\x86R",
    "numpy.testing": b"cnumpy.testing._private.utils\nrunstring\n" + text("open('ran', 'w')") + b"}\x86R",
    "numpy.core._internal": named("numpy._core._internal", "_ctypes") + TOUCH,
    "attrgetter, called": b"coperator\nattrgetter\n" + text("system") + b"\x85Rcos\nsystem\n\x85R",
    "module with \\r": b"cnumpy.core.multiarray\r\n_reconstruct\n(tR",
    "name with \\r": b"cnumpy.core.multiarray\n_reconstruct\r\n(tR",
    "STACK_GLOBAL with \\r": named("numpy.core.multiarray\r", "_reconstruct"),
    "STACK_GLOBAL with \\n": named("numpy", "ndarray\n"),
    "STACK_GLOBAL with \\0": named("numpy", "ndarray\0"),
    "dotted name": named("numpy", "f2py.os.system") + TOUCH,
    "dotted name below a known one": named("numpy", "ndarray.__class__"),
    "module that is only a part": named("core.multiarray", "_reconstruct"),
    "space in the name": named("", "numpy ndarray"),
    "no module": named("", "eval") + MAKE,
}


@pytest.mark.parametrize("attack", NAMES)
def test_a_name_that_is_not_known_is_refused(tmp_path, monkeypatch, attack):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="is not allowed"):
        read(tmp_path, under_m0(NAMES[attack]))
    assert not (tmp_path / "ran").exists()


OPCODES = {
    "INST": b"(" + text("touch ran") + b"ios\nsystem\n",
    "OBJ": b"(cnumpy\nndarray\no",
    "NEWOBJ": b"cnumpy\nndarray\n)\x81",
    "NEWOBJ_EX": b"cnumpy\nndarray\n)}\x92",
    "PERSID": b"Pos.system\n",
    "BINPERSID": text("os.system") + b"Q",
    "EXT1": b"\x82\x01",
    "NEXT_BUFFER": b"\x97",
    "DUP": b"N2",
    "LONG4": b"\x8b\x01\x00\x00\x00\x01",
}


@pytest.mark.parametrize("name", OPCODES)
def test_an_opcode_that_no_array_needs_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"opcode {name} is not allowed"):
        read(tmp_path, under_m0(OPCODES[name]))
    assert not (tmp_path / "ran").exists()


def test_the_parts_that_the_attacks_are_built_of_are_right(tmp_path):
    assert_same(read(tmp_path, under_m0(array_of()))[0], np.zeros(2, "<f4"))
    content = under_m0(named("numpy.core.multiarray", "_reconstruct") + array_of().partition(b"_reconstruct\n")[2])
    assert_same(read(tmp_path, content)[0], np.zeros(2, "<f4"))


MALFORMED = {
    "REDUCE on text": text("os.system") + b")R",
    "REDUCE on a tuple": b"))R",
    "REDUCE without a tuple": b"cnumpy\ndtype\nNR",
    "REDUCE on what is not called": b"cnumpy\nndarray\n)R",
    "dtype without a code": b"cnumpy\ndtype\n)R",
    "dtype of None": b"cnumpy\ndtype\nN\x85R",
    "dtype of a long text": b"cnumpy\ndtype\n" + text("f4," * 20) + b"\x85R",
    "dtype of nonsense": array_of(code="q9"),
    "dtype that Python parses": array_of(code="1 1f"),
    "dtype that Python parses, open": array_of(code="(1,f4"),
    "object dtype": array_of(code="O8"),
    "text dtype": array_of(code="U2"),
    "structured dtype": array_of(code="f4,f4", data=b"C\x10" + bytes(16)),
    "dtype without bytes": array_of(code="V0"),
    "BUILD on a dictionary": b"}}b",
    "BUILD on text": text("x") + b"}b",
    "BUILD on None": b"NNb",
    "BUILD on a global": b"cnumpy\nndarray\n}b",
    "BUILD on a tuple": b")}b",
    "dtype with the state None": b"cnumpy\ndtype\n" + text("f4") + b"\x85RNb",
    "dtype with a wrong byte order": b"cnumpy\ndtype\n" + text("f4") + b"\x85RK\x03" + text("!") + b"\x86b",
    "array with the state None": array_of().rpartition(b"b")[0] + b"0Nb",
    "array with the state of four": array_of(data=b""),
    "array with text as its shape": array_of(shape=text("ab")),
    "array with text in its shape": array_of(shape=text("ab") + b"\x85"),
    "array with an array as its data": array_of(data=array_of()),
    "array with None as its data": array_of(data=b"N"),
    "array without a state": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR",
    "array of another class": array_of().replace(b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"),
    "more bytes than its shape": array_of(data=b"C\x09" + bytes(9)),
    "fewer bytes than its shape": array_of(data=b"C\x07" + bytes(7)),
    "negative dimension": array_of(shape=b"J\xff\xff\xff\xff\x85"),
    "dimension that is True": array_of(shape=b"\x88\x85", data=b"C\x04" + bytes(4)),
    "too many dimensions": array_of(shape=b"(" + b"K\x01" * 100 + b"t", data=b"C\x04" + bytes(4)),
    "no element and a dimension too large": array_of(shape=b"K\x00\x8a\x09" + b"\xff" * 8 + b"\x00\x86", data=b"C\x00"),
    "missing MARK for TUPLE": b"K\x01t",
    "missing MARK for SETITEMS": b"u",
    "MARK where a value belongs": b"(",
    "stack underflow": b"\x87\x87\x87",
    "REDUCE on nothing": b"RRRR",
    "BUILD on nothing": b"bbbb",
    "GET of something never stored": b"g7\n",
    "BINGET of something never stored": b"h\x07",
    "LONG_BINGET of something never stored": b"j\x07\x00\x00\x00",
    "odd number of items": b"}(K\x01u",
    "item set on text": text("x") + b"K\x01K\x02s",
    "STACK_GLOBAL of numbers": b"K\x01K\x02\x93",
    "nothing to memoize": b"(\x94",
    "key that is None": b"NN",
    "unknown opcode": b"\xff",
    "integer of too many digits": b"I" + b"9" * 5000 + b"\n",
    "_frombuffer with a wrong order of axes": (
        named("numpy._core.numeric", "_frombuffer") + b"(C\x08" + bytes(8) + b"cnumpy\ndtype\n" + text("f4")
        + b"\x85RK\x01K\x02\x86" + text("K") + b"K\x00K\x00\x86tR"
    ),
    "_frombuffer with text as its axes": (
        named("numpy._core.numeric", "_frombuffer") + b"(C\x08" + bytes(8) + b"cnumpy\ndtype\n" + text("f4")
        + b"\x85RK\x01K\x02\x86" + text("K") + text("x") + b"tR"
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_pickle_is_a_data_error(tmp_path, fault):
    with pytest.raises(DataError, match=r"a\.pkl"):
        read(tmp_path, under_m0(MALFORMED[fault]))


GOOD = text("m0") + array_of()
REASONS = {
    "a stack underflow": b"\x80\x04\x87.",
    "an item that is set outside a dictionary": b"\x80\x04" + GOOD + b"s.",
    "a missing mark": b"\x80\x04}" + GOOD + b"u.",
    "the end comes too early": b"\x80\x04}" + GOOD + b"sN.",
    "argument 2 is shorter": b"\x80\x04}(" + GOOD + text("x") + b"u.",
    "nothing remembered under 7": b"\x80\x04}" + GOOD + b"sh\x07.",
    "more than 1,000,000 opcodes": b"\x80\x04}" + GOOD + b"s" + b"q\x00" * MOST_OPCODES + b".",
}


@pytest.mark.parametrize("reason", REASONS)
def test_a_good_array_does_not_make_up_for_a_fault_elsewhere(tmp_path, reason):
    with pytest.raises(DataError, match=f"received .*{reason}"):
        read(tmp_path, REASONS[reason])


def test_a_mark_is_no_value(tmp_path):
    with pytest.raises(DataError, match="a stack underflow"):
        read(tmp_path, under_m0(b"("))


def test_bytes_that_stay_in_the_file_must_be_as_many_as_the_shape_says(tmp_path):
    for size in (8 * LARGE - 4, 8 * LARGE + 4):
        data = b"B" + struct.pack("<I", size) + bytes(size)
        content = under_m0(array_of(data=data, shape=b"J" + struct.pack("<i", 2 * LARGE) + b"\x85"))
        with pytest.raises(DataError, match=f"expected 524,288 bytes .*received {size:,}"):
            read(tmp_path, content)


@pytest.mark.parametrize(
    "content", [b"\x80\x04.", b"\x80\x04(.", b"\x80\x04}}.", b".", b"}", b"\x80\x04}" + text("m0")]
)
def test_an_end_that_comes_too_early_or_never(tmp_path, content):
    with pytest.raises(DataError, match=r"a\.pkl"):
        read(tmp_path, content)


def test_bytes_after_the_end_do_not_matter(tmp_path):
    assert_same(read(tmp_path, pickle.dumps(SMALL) + b"cos\nsystem\n")[0], SMALL["m0"])


HUGE = {
    "shape of 10^13": array_of(shape=b"\x8a\x06" + (10**13).to_bytes(6, "little") + b"\x85"),
    "shape of 10^13 without data": array_of(shape=b"\x8a\x06" + (10**13).to_bytes(6, "little") + b"\x85", data=b"C\0"),
    "_reconstruct with 10^13": array_of(
        arguments=b"\x8a\x06" + (10**13).to_bytes(6, "little") + b"\x85C\x01b", data=b"C\x09" + bytes(9)
    ),
    "BINBYTES8": b"\x8e" + struct.pack("<Q", 2**62) + b"x",
    "BYTEARRAY8": b"\x96" + struct.pack("<Q", 2**62) + b"x",
    "BINUNICODE8": b"\x8d" + struct.pack("<Q", 2**62) + b"x",
    "BINBYTES8 of the largest size": b"\x8e" + b"\xff" * 8 + b"x",
    "BINBYTES": b"B" + struct.pack("<I", 2**32 - 1) + b"x",
    "BINUNICODE": b"X" + struct.pack("<I", 2**32 - 1) + b"x",
    "LONG4": b"\x8b" + struct.pack("<i", 2**31 - 1) + b"x",
}


@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("claim", HUGE)
def test_what_is_claimed_is_not_allocated(tmp_path, claim, pack):
    content = PACKS[pack](under_m0(HUGE[claim]))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"a\.pkl"):
        read(tmp_path, content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21


def doublings(count):
    """The opcodes of a tuple of two tuples of two tuples and so on: 2**count elements if it is ever walked."""
    return b")" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(count))


BOMBS = {
    "state of a dtype": b"cnumpy\ndtype\n" + text("f4") + b"\x85R" + doublings(80) + b"b",
    "code of a dtype": b"cnumpy\ndtype\n" + doublings(80) + b"\x85R",
    "state of an array": array_of().rpartition(b"(K\x01K\x02\x85")[0] + doublings(80) + b"b",
    "shape of an array": array_of(shape=doublings(80)),
    "key": b"}" + doublings(80) + b"Ns",
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("bomb", BOMBS)
def test_what_doubles_at_every_step_is_never_walked(tmp_path, bomb):
    with pytest.raises(DataError, match=r"a\.pkl") as caught:
        read(tmp_path, under_m0(BOMBS[bomb]))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "content", [b")" + b"\x85" * (MOST_OPCODES // 8), b"(" * (MOST_OPCODES // 2), b"}" * (MOST_OPCODES // 2)]
)
def test_what_is_nested_deeply(tmp_path, content):
    with pytest.raises(DataError, match=r"a\.pkl"):
        read(tmp_path, under_m0(content))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_inside_bytes_stays_bytes(tmp_path, protocol):
    marker = tmp_path / "ran"
    inner = pickle.dumps(Call(os.system, f"touch {marker}"))
    data = SMALL | {"nested": inner, "m3": np.frombuffer(inner, "uint8")}
    assert read(tmp_path, pickle.dumps(data, protocol), "m3")[0].tobytes() == inner
    with pytest.raises(DataError, match="an array under the key 'nested'"):
        read(tmp_path, pickle.dumps(data, protocol), "nested")
    assert not marker.exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_object_arrays_are_refused(tmp_path, protocol):
    marker = tmp_path / "ran"
    data = {"m0": np.array([Call(os.system, f"touch {marker}")], dtype=object)}
    with pytest.raises(DataError, match="expected a pickled dictionary of arrays"):
        read(tmp_path, pickle.dumps(data, protocol))
    assert not marker.exists()


# ---- Damage


@pytest.mark.parametrize("pack", ["bare", "zip"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_truncated_at_every_byte(tmp_path, protocol, pack):
    whole = pickle.dumps(SMALL, protocol)
    for length in range(len(whole)):
        with pytest.raises(DataError, match=r"a\.pkl"):
            read(tmp_path, PACKS[pack](whole[:length]))


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_truncated_within_an_array_that_is_not_read(tmp_path, rng, protocol):
    whole = pickle.dumps({"m0": np.arange(3), "m1": rng.random(LARGE)}, protocol)
    for length in (len(whole) // 2, len(whole) - 1, len(whole) - 200):
        with pytest.raises(DataError, match=r"a\.pkl"):
            read(tmp_path, whole[:length])


@pytest.mark.parametrize("pack", ["zip", "gzip"])
def test_an_archive_with_a_wrong_checksum(tmp_path, rng, pack):
    content = bytearray(PACKS[pack](pickle.dumps({"m0": rng.random(LARGE)})))
    if pack == "gzip":
        content[-8] ^= 1
    else:
        content[14] ^= 1
        content[content.rindex(b"PK\x01\x02") + 16] ^= 1
    with pytest.raises(DataError, match=r"a\.pkl"):
        read(tmp_path, content)


@few
@given(data=st.data(), protocol=st.sampled_from(PROTOCOLS))
def test_a_changed_byte_gives_an_array_or_a_data_error(tmp_path, data, protocol):
    content = bytearray(pickle.dumps(SMALL, protocol))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):
        assert all(isinstance(found, np.ndarray) for found in read(tmp_path, content, "m0", "m1"))
