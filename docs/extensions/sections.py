"""The table of contents: what docs/index.md lists below a heading is a section of it.

A page that it does not list is in no section, which Sphinx warns of, and a warning is an error of the build.
"""

import re
from typing import Any

from sphinx.application import Sphinx

LINK = re.compile(r"^- \[(.*?)\]\((.*?)\.(?:md|ipynb)\)", re.MULTILINE)


def toctrees(text: str) -> str:
    """A hidden table of contents for every section of a page of lists."""
    found = []
    for section in text.split("\n## ")[1:]:
        entries = [f"{title} <{page}>" for title, page in LINK.findall(section)]
        found.append("\n".join(["```{toctree}", ":hidden:", f":caption: {section.splitlines()[0]}", *entries, "```"]))
    return "\n\n".join(found)


def listed(app: Sphinx, docname: str, source: list[str]) -> None:
    if docname == app.config.root_doc:
        source[0] += f"\n{toctrees(source[0])}\n"


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("source-read", listed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
