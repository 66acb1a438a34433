"""Pickles that somebody made to do harm, and damaged ones: refused, in little time and memory, and nothing is run.

None of these pickles is ever unpickled: `ran` must not exist afterwards.
"""

import codecs
import importlib
import operator
import os
import pickle
import struct
import subprocess
import time
import tracemalloc

import numpy as np
import pytest
from test_pickles import PACKS, PROTOCOLS, SMALL, assert_same, read

from bicoder.data.formats.pickles import LARGE, MOST_OPCODES
from bicoder.errors import DataError

# ---- Calls and names


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


@pytest.mark.fault(48, 55)
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
    """The opcodes of an array, any of which can be replaced."""
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
    "module that is only an end": named("core.multiarray", "_reconstruct"),
    "space in the name": named("", "numpy ndarray"),
    "no module": named("", "eval") + MAKE,
}


@pytest.mark.fault(48, 49)
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


@pytest.mark.fault(48)
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
    "dtype with a state of three": b"cnumpy\ndtype\n" + text("f4") + b"\x85RK\x03" + text("<") + b"N\x87b",
    "dtype with fields": array_of().replace(b"NNN", b"NN}"),
    "dtype with a base": array_of().replace(b"NNN", text("f4") + b"NN"),
    "dtype with a number as its byte order": array_of().replace(text("<") + b"NNN", b"K\x01NNN"),
    "array of another version": array_of().replace(b"(K\x01K\x02", b"(K\x02K\x02"),
    "array of no order": array_of().replace(b"b\x89C", b"bK\x00C"),
    "array with a shape of bytes": array_of(shape=b"C\x02\x02\x02"),
    "array whose shape is itself": array_of().replace(b"tR(K\x01K\x02\x85", b"tR\x94(K\x01h\x00"),
    "PUT under a number that is too large": b"N" + b"p4294967296\n",
    "PUT under a negative number": b"N" + b"p-1\n",
    "_frombuffer in an order that there is not": (
        named("numpy._core.numeric", "_frombuffer") + b"(C\x08" + bytes(8) + b"cnumpy\ndtype\n" + text("f4")
        + b"\x85RK\x02\x85" + text("A") + b"tR"
    ),
    "_frombuffer in a kept order that is not given": (
        named("numpy._core.numeric", "_frombuffer") + b"(C\x08" + bytes(8) + b"cnumpy\ndtype\n" + text("f4")
        + b"\x85RK\x02\x85" + text("K") + b"tR"
    ),
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


@pytest.mark.fault(52, 56)
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
    "more than 100,000 opcodes": b"\x80\x04}" + GOOD + b"s" + b"q\x00" * MOST_OPCODES + b".",
}


@pytest.mark.fault(52)
@pytest.mark.parametrize("reason", REASONS)
def test_a_good_array_does_not_make_up_for_a_fault_elsewhere(tmp_path, reason):
    with pytest.raises(DataError, match=f"received .*{reason}"):
        read(tmp_path, REASONS[reason])


def test_a_mark_is_no_value(tmp_path):
    with pytest.raises(DataError, match="a stack underflow"):
        read(tmp_path, under_m0(b"("))


@pytest.mark.fault(54)
def test_bytes_that_stay_in_the_file_must_be_as_many_as_the_shape_says(tmp_path):
    for size in (8 * LARGE - 4, 8 * LARGE + 4):
        data = b"B" + struct.pack("<I", size) + bytes(size)
        content = under_m0(array_of(data=data, shape=b"J" + struct.pack("<i", 2 * LARGE) + b"\x85"))
        with pytest.raises(DataError, match=f"expected 524,288 bytes .*received {size:,}"):
            read(tmp_path, content)


@pytest.mark.fault(52)
@pytest.mark.parametrize(
    "content", [b"\x80\x04.", b"\x80\x04(.", b"\x80\x04}}.", b".", b"}", b"\x80\x04}" + text("m0")]
)
def test_an_end_that_comes_too_early_or_never(tmp_path, content):
    with pytest.raises(DataError, match=r"a\.pkl"):
        read(tmp_path, content)


@pytest.mark.fault(52)
@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("after", [b"\0", b".", b"cos\nsystem\n(S'touch ran'\ntR.", pickle.dumps(SMALL)])
def test_bytes_after_the_end(tmp_path, monkeypatch, pack, after):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="received more bytes after its end"):
        read(tmp_path, PACKS[pack](pickle.dumps(SMALL) + after))
    assert not (tmp_path / "ran").exists()


def test_a_protocol_that_there_is_not(tmp_path):
    content = pickle.dumps(SMALL, 4)
    for protocol in (6, 255):
        with pytest.raises(DataError, match=f"protocol {protocol}, not one from 0 to 5"):
            read(tmp_path, b"\x80" + bytes([protocol]) + content[2:])


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


@pytest.mark.fault(54)
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


@pytest.mark.fault(53)
@pytest.mark.timeout(20)
@pytest.mark.parametrize("bomb", BOMBS)
def test_what_doubles_at_every_step_is_never_walked(tmp_path, bomb):
    with pytest.raises(DataError, match=r"a\.pkl") as caught:
        read(tmp_path, under_m0(BOMBS[bomb]))
    assert len(str(caught.value)) < 1000


NESTED = {
    "lists": b"]" * 10**6,
    "lists of protocol 0": b"(l" * 10**6,
    "tuples": b")" + b"\x85" * 10**6,
    "few tuples": b")" + b"\x85" * (MOST_OPCODES - 100),
    "marks": b"(" * 10**6,
    "few marks": b"(" * (MOST_OPCODES - 100),
    "dictionaries": b"}" * 10**6,
    "dictionaries in dictionaries": (b"}" + text("a")) * 10**6,
    "few dictionaries in dictionaries": (b"}" + text("a")) * (MOST_OPCODES // 4) + b"N" + b"s" * (MOST_OPCODES // 4),
    "arrays in shapes": array_of() * 1000 + b"\x85" * 1000,
}


@pytest.mark.fault(53)
@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", NESTED)
def test_what_is_nested_deeply(tmp_path, kind):
    started = time.process_time()
    with pytest.raises(DataError, match=r"a\.pkl"):
        read(tmp_path, under_m0(NESTED[kind]))
    assert time.process_time() - started < 5.0


def whole(number):
    """The opcode of a whole number of any size."""
    raw = pickle.encode_long(number)
    return b"\x8a" + bytes([len(raw)]) + raw


LONG = b"X" + struct.pack("<I", LARGE) + b"x" * LARGE
# Each stays below the most opcodes and holds a good array under m0: what it costs is what it would cost to be read.
EXPANDING = {
    "text that is encoded again and again": (
        b"c_codecs\nencode\nq\x01" + LONG + b"q\x02" + text("latin1") + b"q\x03",
        b"h\x01h\x02h\x03\x86R" * 15_000,
        "read",
    ),
    "text that becomes the data of arrays again and again": (
        array_of().rpartition(b"(K\x01K\x02\x85")[0] + b"q\x01" + LONG + b"q\x02",
        (b"h\x01(K\x01)" + b"cnumpy\ndtype\n" + text("u1") + b"\x85R\x89h\x02tb") * 6_000,
        "read",
    ),
    "one tuple in many": (b")q\x01", b"h\x01h\x01h\x01\x87q\x01" * 15_000, "read"),
    "keys that collide": (
        b"}",
        b"(" + b"".join(whole(i * (2**61 - 1)) + b"N" for i in range(1, 40_000)) + b"u",
        "more than 1,000 keys",
    ),
    "memo that collides": (
        b"N",
        b"".join(b"p%d\n" % (i * (2**61 - 1)) for i in range(1, 40_000)),
        "a place in the memo",
    ),
    "many numbers": (b"", b"".join(b"I" + b"9" * 4000 + b"\n" for _ in range(2000)), "read"),
}


@pytest.mark.fault(53)
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", EXPANDING)
def test_what_expands_takes_the_memory_of_its_file_at_most(tmp_path, kind):
    before, repeated, _ = EXPANDING[kind]
    content = b"\x80\x04}(" + text("m0") + array_of() + text("m1") + b"(" + before + repeated + b"tu."
    started = time.process_time()
    tracemalloc.start()
    try:
        assert_same(read(tmp_path, content)[0], np.zeros(2, "<f4"))
        said = "read"
    except DataError as error:
        said = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert EXPANDING[kind][2] in said
    assert peak < 2**24
    assert time.process_time() - started < 10.0


@pytest.mark.fault(50)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_pickle_inside_bytes_stays_bytes(tmp_path, protocol):
    marker = tmp_path / "ran"
    inner = pickle.dumps(Call(os.system, f"touch {marker}"))
    data = SMALL | {"nested": inner, "m3": np.frombuffer(inner, "uint8")}
    assert read(tmp_path, pickle.dumps(data, protocol), "m3")[0].tobytes() == inner
    with pytest.raises(DataError, match="an array under the key 'nested'"):
        read(tmp_path, pickle.dumps(data, protocol), "nested")
    assert not marker.exists()


@pytest.mark.fault(32, 48)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_object_arrays_are_refused(tmp_path, protocol):
    marker = tmp_path / "ran"
    data = {"m0": np.array([Call(os.system, f"touch {marker}")], dtype=object)}
    with pytest.raises(DataError, match="expected a pickled dictionary of arrays"):
        read(tmp_path, pickle.dumps(data, protocol))
    assert not marker.exists()


# ---- Damage


@pytest.mark.fault(51)
@pytest.mark.parametrize("pack", PACKS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_truncated_at_every_byte(tmp_path, protocol, pack):
    whole = pickle.dumps(SMALL, protocol)
    for length in range(len(whole)):
        with pytest.raises(DataError, match=r"a\.pkl"):
            read(tmp_path, PACKS[pack](whole[:length]))


@pytest.mark.fault(51)
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_truncated_within_an_array_that_is_not_read(tmp_path, rng, protocol):
    whole = pickle.dumps({"m0": np.arange(3), "m1": rng.random(LARGE)}, protocol)
    for length in (len(whole) // 2, len(whole) - 1, len(whole) - 200):
        with pytest.raises(DataError, match=r"a\.pkl"):
            read(tmp_path, whole[:length])


@pytest.mark.fault(60)
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
