"""A page for every file of code that others link to, with their lines: source/bicoder/vae.html#L-120."""

import inspect
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent.parent
LINK = re.compile(r"\]\(((?:\.\./)*[\w/]+)\.py(?:#L(\d+))?\)")
NAMED: set[str] = set()  # files, without .py, that docs/reference/ links to
LOOK = HtmlFormatter(lineanchors="L", anchorlinenos=True, linenos="inline")
# As plain as it can be: the theme would take a minute for hundreds of these.
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{name}</title>
<link rel="stylesheet" href="{top}_static/pygments.css">
<link rel="stylesheet" href="{top}_static/site.css">
<body class="source" data-theme="auto">
<h1><a href="{top}README.html">bicoder</a> {name}</h1>
{code}
</html>
"""


def file_of(path: str, docname: str) -> str:
    """A path in a link of a page, without .py, as a path in the checkout."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(docname), path))


def linked(app: Sphinx, docname: str, source: list[str]) -> None:
    """Links to code lead to its page: MyST would copy the file, and forget the line."""

    def link(found: re.Match[str]) -> str:
        page = posixpath.relpath(f"source/{file_of(found[1], docname)}.html", posixpath.dirname(docname) or ".")
        return f"]({page}{f'#L-{found[2]}' if found[2] else ''}){{.external}}"

    source[0] = LINK.sub(link, source[0])


def line_of(domain: str, info: dict[str, str]) -> str | None:
    """Where the link [source] of a name in docs/reference/ leads."""
    subject: Any = sys.modules.get(info["module"])
    for name in info["fullname"].split("."):
        subject = getattr(subject, name, None)
    try:
        subject = inspect.unwrap(subject.fget if isinstance(subject, property) else subject)
        path, line = inspect.getsourcefile(subject), inspect.getsourcelines(subject)[1]
    except (AttributeError, TypeError, OSError):
        return None
    file = Path(str(path))
    if not file.is_relative_to(ROOT):
        return None
    name = file.relative_to(ROOT).with_suffix("").as_posix()
    NAMED.add(name)
    return f"../../source/{name}.html#L-{line}"


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the page of every file that another page links to."""
    if exception or app.builder.format != "html":
        return
    names = set(NAMED)
    for docname in app.env.found_docs:
        text = app.env.doc2path(docname).read_text(encoding="utf-8")
        names |= {file_of(path, docname) for path, _ in LINK.findall(text)}
    for name in sorted(names):
        code = highlight((ROOT / f"{name}.py").read_text(encoding="utf-8"), PythonLexer(), LOOK)
        page = Path(app.outdir) / "source" / f"{name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(PAGE.format(name=f"{name}.py", top="../" * (name.count("/") + 1), code=code), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension("sphinx.ext.linkcode")
    app.config.linkcode_resolve = line_of
    app.connect("source-read", linked)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
