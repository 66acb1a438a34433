"""Docstrings are plain text with formulas, such as log p(x|z), *event and `name`: none of it is markup of Sphinx."""

import inspect
import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.inspect import signature, stringify_signature

CODE = re.compile(r"(`+)(.+?)\1")
MARKUP = re.compile(r"([*|\\]|(?<=\w)_(?!\w))")


def escaped(line: str) -> str:
    """A line in which code between backticks is code, and all else stands for itself."""
    pieces, end = [], 0
    for code in CODE.finditer(line):
        pieces += [MARKUP.sub(r"\\\1", line[end : code.start()]), f"``{code[2]}``"]
        end = code.end()
    return "".join([*pieces, MARKUP.sub(r"\\\1", line[end:])])


def plain(app: Sphinx, what: str, name: str, subject: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [escaped(line) for line in lines]


def own_signature(app: Sphinx, what: str, name: str, subject: Any, options: Any, given: Any, returned: Any) -> Any:
    """Of a layer the arguments of its `__init__`; Keras gives all of them a `__new__` that takes anything."""
    if what != "class" or not inspect.isfunction(subject.__init__):
        return None
    arguments = signature(subject.__init__, bound_method=True).replace(return_annotation=inspect.Signature.empty)
    return stringify_signature(arguments, unqualified_typehints=True), None


def not_said(app: Sphinx, what: str, name: str, subject: Any, skip: bool, options: Any) -> bool | None:
    """Fields of a `NamedTuple` stand in its signature; functions of a module are on a page if it names them."""
    is_field = str(getattr(subject, "__doc__", "")).startswith("Alias for field number")
    return True if is_field or (what == "module" and inspect.isfunction(subject)) else None


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", plain, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", own_signature)
    app.connect("autodoc-skip-member", not_said)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
