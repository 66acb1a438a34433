"""Texts of others in Markdown."""

MARKS = "\\`*_[]<>|~#&$"


def escaped_markdown(text: str) -> str:
    """A text of one line that Markdown shows as it is; an underscore inside a word is none of its marks."""
    found = "".join(f"\\{letter}" if letter in MARKS and letter != "_" else letter for letter in text)
    return found.replace(" _", " \\_").replace("_ ", "\\_ ")
