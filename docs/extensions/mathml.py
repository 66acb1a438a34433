"""Formulas as MathML, which browsers draw themselves: no script and no font is fetched for them."""

import html
import re
from typing import Any

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

# Between a function and what it is of, without parentheses: log p. Browsers leave no space there.
APPLIED = re.compile(r"<mo>&ApplyFunction;</mo>(?!\s*<mo[^>]*>\()")
logger = logging.getLogger(__name__)


def mathml(node: nodes.Element, as_block: bool) -> str:
    """The formula, or its source with a warning if it has what docutils does not know."""
    try:
        return APPLIED.sub('<mspace width="0.17em"></mspace>', tex2mathml(node.astext(), as_block=as_block))
    except MathError as error:
        logger.warning("formula: %s %s", error, node.astext(), location=node)
        return html.escape(node.astext())


def inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def block(translator: Any, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math-block">{mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
