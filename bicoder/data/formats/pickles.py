"""NumPy arrays out of a pickle that may come from anyone, without unpickling it.

`pickle.load` runs whatever the file says. This reader takes the opcodes from the standard library's `pickletools` and
interprets the few that a dictionary of arrays is made of. Four names are known, and none of them is ever imported or
called: they only mark what an array looks like. Large byte strings are not read but remembered as a place in the file,
so that one array of a large dictionary costs the memory of that array alone.

No opcode copies or walks what others have made: each takes what it needs off the stack and puts one thing there. So
time and memory are bounded by the size of the file and by the limits below, however things are nested or repeated.
"""

import dataclasses
import pickletools
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, cast

from bicoder.data.formats.archives import LARGEST, Stream, open_content, read_exactly
from bicoder.data.formats.array_descriptions import Array, DType, Encoded, Span, are_whole
from bicoder.errors import BicoderError, DataError

LARGE = 2**16  # bytes; a byte string from this size on stays in the file
MOST_OPCODES = 10**5  # an array takes about sixty
MOST_KEYS = 1000
MOST_MEMO = 2**32  # numbers of the memo lie below; larger ones could be chosen to collide
NEWEST = 5  # protocol
MARK = object()

# NumPy 2 and NumPy 1 call the same things by different names.
RECONSTRUCT = {"numpy._core.multiarray _reconstruct", "numpy.core.multiarray _reconstruct"}
FROM_BUFFER = {"numpy._core.numeric _frombuffer", "numpy.core.numeric _frombuffer"}
KNOWN = RECONSTRUCT | FROM_BUFFER | {"numpy ndarray", "numpy dtype", "_codecs encode"}


@dataclasses.dataclass(frozen=True)
class Global:
    """A name that the pickle would have imported."""

    name: str


class Skipping:
    """A stream for `pickletools.genops` that answers a request for many bytes with a `Span`, if the opcode allows.

    Only text may be long besides, for protocols 0 to 2 write arrays as text.

    `genops` asks where it is before each opcode, and nowhere else: what it reads next is the opcode, then its argument.
    """

    def __init__(self, stream: Stream, path: str | Path) -> None:
        self.stream, self.path, self.opcode = stream, path, b""

    def tell(self) -> int:
        self.opcode = b""
        return self.stream.tell()

    def read(self, size: int) -> Any:
        if not self.opcode:
            self.opcode = self.stream.read(size)
            # A bytearray is announced as bytes, which genops hands on as they are; a bytearray it would copy.
            return b"\x8e" if self.opcode == b"\x96" else self.opcode
        if size <= LARGE:
            return self.stream.read(size)
        if self.opcode in (b"B", b"\x8e", b"\x96"):
            return self.skip(size)
        if self.opcode not in (b"X", b"\x8d", b"T"):
            raise ValueError(f"an argument of {size:,} bytes, where there is none of this length")
        return bytes(read_exactly(self.stream, size, self.path))

    def skip(self, size: int) -> Span:
        """The place of the next `size` bytes, which must be there."""
        start = self.stream.tell()
        if size <= LARGEST:
            self.stream.seek(size - 1, 1)
        if size > LARGEST or not self.stream.read(1):
            raise DataError(f"{self.path}: truncated: a string of {size:,} bytes at {start:,} ends after the file")
        return Span(start, size)

    def readline(self) -> bytes:
        return self.stream.readline(-1 if self.opcode in (b"V", b"S") else LARGE)


class Reader:
    """A stack machine for the opcodes that dictionaries of arrays are made of; everything else is refused."""

    CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
    LITERALS = {
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"),
        *("SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES"),
        "BINBYTES8",
    }
    TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is MARK:
            raise ValueError("a stack underflow")
        return self.stack.pop()

    def pop_mark(self) -> list[Any]:
        items = []
        while self.stack and self.stack[-1] is not MARK:
            items.append(self.stack.pop())
        if not self.stack:
            raise ValueError("a missing mark")
        self.stack.pop()
        return items[::-1]

    def step(self, name: str, argument: Any) -> None:
        """Carry out one opcode."""
        if name in self.LITERALS:
            self.stack.append(argument)
        elif name in self.CONSTANTS:
            self.stack.append(self.CONSTANTS[name])
        elif name in self.TUPLES:
            self.stack.append(tuple([self.pop() for _ in range(self.TUPLES[name])][::-1]))
        elif name == "PROTO" and argument > NEWEST:
            raise ValueError(f"protocol {argument}, not one from 0 to {NEWEST}")
        elif name not in ("PROTO", "FRAME"):
            method = getattr(self, "do_" + name.lower(), None)
            if method is None:
                raise ValueError(f"opcode {name} is not allowed")
            method(argument)

    def do_mark(self, _: Any) -> None:
        self.stack.append(MARK)

    def do_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.pop_mark()))

    def do_empty_tuple(self, _: Any) -> None:
        self.stack.append(())

    def do_empty_dict(self, _: Any) -> None:
        self.stack.append({})

    def do_dict(self, _: Any) -> None:
        self.stack.append(self.paired(self.pop_mark(), {}))

    def do_setitem(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self.paired([key, value], self.top_dict())

    def do_setitems(self, _: Any) -> None:
        items = self.pop_mark()
        self.paired(items, self.top_dict())

    def top_dict(self) -> dict[Any, Any]:
        target = self.stack[-1] if self.stack else None
        if not isinstance(target, dict):
            raise ValueError("an item that is set outside a dictionary")
        return target

    @staticmethod
    def paired(items: list[Any], target: dict[Any, Any]) -> dict[Any, Any]:
        if len(target) + len(items) // 2 > MOST_KEYS:
            raise ValueError(f"more than {MOST_KEYS:,} keys")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, (str, int, bytes)):
                raise ValueError(f"expected keys of text, received {type(key).__name__}")
            target[key] = value
        return target

    def do_put(self, argument: Any) -> None:
        if not self.stack or self.stack[-1] is MARK:
            raise ValueError("nothing to remember")
        if not 0 <= argument < MOST_MEMO:
            raise ValueError("a place in the memo that no pickle has")
        self.memo[argument] = self.stack[-1]

    do_binput = do_long_binput = do_put

    def do_memoize(self, _: Any) -> None:
        self.do_put(len(self.memo))

    def do_get(self, argument: Any) -> None:
        if argument not in self.memo:
            raise ValueError(f"nothing remembered under {argument}")
        self.stack.append(self.memo[argument])

    do_binget = do_long_binget = do_get

    def do_global(self, argument: Any) -> None:
        if argument not in KNOWN:
            raise ValueError(f"global {argument.replace(' ', '.')!r} is not allowed")
        self.stack.append(Global(argument))

    def do_stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise ValueError("a global without a name")
        self.do_global(f"{module} {name}")

    def do_reduce(self, _: Any) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise ValueError("a call of something that is no known name")
        self.stack.append(self.call(function.name, arguments))

    def do_build(self, _: Any) -> None:
        state, target = self.pop(), self.stack[-1] if self.stack else None
        if not isinstance(target, (Array, DType)):
            raise ValueError("a state for something that is no array")
        target.build(state)

    @staticmethod
    def call(name: str, arguments: tuple[Any, ...]) -> Any:
        """What the known names would have made; nothing is called."""
        if name == "numpy dtype" and arguments:
            return DType(arguments[0])
        if name in RECONSTRUCT and arguments[:1] == (Global("numpy ndarray"),):
            return Array()
        if (
            name == "_codecs encode"
            and len(arguments) == 2
            and arguments[1] == "latin1"
            and isinstance(arguments[0], str)
        ):
            return Encoded(arguments[0])
        if name in FROM_BUFFER and len(arguments) in (4, 5) and isinstance(arguments[1], DType):
            data, dtype, shape, order, *axes = arguments
            if order in ("C", "F") or (order == "K" and axes):
                array = Array()
                array.data, array.dtype, array.shape, array.fortran = data, dtype.dtype, shape, order == "F"
                array.axes = axes[0] if order == "K" else None
                return array
        raise ValueError(f"call of {name.replace(' ', '.')} with arguments that no array has")


def parse(stream: Stream, path: str | Path) -> Any:
    """The object in a pickle: a dictionary or an `Array`, whose bytes are still in the stream."""
    reader = Reader()
    source = Skipping(stream, path)
    for count, (opcode, argument, _) in enumerate(pickletools.genops(cast(IO[bytes], source))):
        if count > MOST_OPCODES:
            raise ValueError(f"more than {MOST_OPCODES:,} opcodes")
        if opcode.name == "STOP":
            break
        reader.step(opcode.name, argument)
    if stream.read(1):
        raise ValueError("more bytes after its end")
    if len(reader.stack) != 1 or reader.stack[0] is MARK:
        raise ValueError("the end comes too early")
    return reader.stack[0]


def read_views(
    path: str | Path, wanted: Sequence[str], views: Sequence[str] = (), in_portions: bool = False
) -> list[Any]:
    """The arrays under the keys `wanted` of a pickled dictionary of arrays; the others are not read.

    Args:
        path: a pickle of protocol 0 to 5, bare or inside a zip or a gzip.
        wanted: list of keys.
        views: keys whose arrays, if they are there, must have the same number of images.
        in_portions: True for `Portions` of arrays that can be read so, instead of the arrays.
    Returns:
        List of arrays.
    Raises:
        DataError: the file is no such pickle, lacks a key, or asks for anything but arrays of numbers.
    """
    with open_content(path) as stream:
        try:
            found = parse(stream, path)
        except (BicoderError, MemoryError):
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise DataError(f"{path}: expected a pickled dictionary of arrays, received {reason}") from error
        if not isinstance(found, dict):
            raise DataError(f"{path}: expected a pickled dictionary of arrays, received {type(found).__name__}")
        for key in wanted:
            if not isinstance(found.get(key), Array):
                keys = ", ".join(sorted(str(name)[:40] for name in found)[:20]) or "nothing"
                raise DataError(f"{path}: expected an array under the key {key!r}, received the keys {keys}")
        counts = {key: found[key].shape[0] for key in views if has_images(found.get(key))}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{key} {count:,}" for key, count in counts.items())
            raise DataError(f"{path}: expected as many images in every view, received {listed}")
        return [(found[key].open if in_portions else found[key].read)(stream, path) for key in wanted]


def has_images(value: Any) -> bool:
    """Whether this is an array with a first axis."""
    return isinstance(value, Array) and are_whole(value.shape) and len(value.shape) > 0
