"""A page of one file: its sections, and the policy that lets nothing else run, load or leave."""

from collections.abc import Iterable
from importlib import resources

from bicoder.pictures.report import markup


def document_of(
    name: str, sections: Iterable[tuple[str, str, str]], style: str, below: str = "", end: str = "", script: str = ""
) -> str:
    """The page around its sections.

    Args:
        name: of what it is about, a text from anywhere.
        sections: what links to each, its title, and what is in it, markup.
        style: the only style that holds.
        below: markup below the sections.
        end: markup after all of it, the script among it.
        script: the only script that may run; empty if none may.
    """
    allowed = markup.digest(script) if script else "'none'"
    policy = (
        f"default-src 'none'; script-src {allowed}; "
        f"style-src {markup.digest(style)}; img-src data:; base-uri 'none'; form-action 'none'"
    )
    title, links, body = markup.text(name), "", ""
    for identity, heading, content in sections:
        links += f'<a href="#{identity}">{markup.text(heading)}</a>'
        body += f'<section id="{identity}"><h2>{markup.text(heading)}</h2>{content}</section>'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{style}</style></head><body>"
        f'<header><h1>{title}</h1><nav aria-label="sections">{links}</nav></header><main>{body}{below}</main>'
        f"{end}</body></html>\n"
    )


def source(name: str, package: str = "bicoder.pictures.report") -> str:
    """The text of a file beside the modules of a package."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")
