"""Point the links of the pages to lines of code, [`VAE.call`](../bicoder/vae.py#L120), to where the names are today."""

import ast
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent
LINK = re.compile(r"(\[`?([^\]`]+)`?\]\(([^)\s#]+\.py)#L)\d*\)")


def defined(node: ast.stmt) -> set[str]:
    """The names that a statement defines: of a class, of a function, or those that it gives a value or a type."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {item.id for target in targets for item in ast.walk(target) if isinstance(item, ast.Name)}


def line_of(name: str, path: Path) -> int:
    """Where a class, a function, or a method or an attribute of a class (`VAE.call`) begins in a file."""
    body, line = ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else [], 0
    for part in name.split("."):
        found = next((node for node in body if part in defined(node)), None)
        if found is None:
            raise LookupError(f"{path}: expected {name}, which a page links to, found no {part}; mend the page")
        body, line = getattr(found, "body", []), found.lineno
    return line


def with_lines(page: Path) -> str:
    """The text of a page with today's line numbers in its links."""
    text = page.read_text(encoding="utf-8")
    return LINK.sub(lambda link: f"{link[1]}{line_of(link[2], page.parent / link[3])})", text)


if __name__ == "__main__":
    for page, text in [(page, with_lines(page)) for page in sorted([*DOCS.glob("*.md"), *DOCS.parent.glob("*.md")])]:
        page.write_text(text, encoding="utf-8")
