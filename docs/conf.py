"""The documentation as a site: `make docs` builds it of the pages of the checkout, which stay as GitHub shows them."""

import sys
from pathlib import Path
from typing import NewType

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "extensions")]

from bicoder import __version__  # noqa: E402 - found by the path above
from bicoder.engine.start import import_keras  # noqa: E402

import_keras()  # without TensorFlow's own messages

from bicoder.engine import tensor  # noqa: E402

tensor.Tensor = NewType("Tensor", object)  # to a type checker it is anything; in signatures it has its name
tensor.Seed = NewType("Seed", object)

project, author, version, release = "bicoder", "the bicoder authors", __version__, __version__
project_copyright = "Apache License 2.0"

# Sphinx reads the checkout itself, so that links between pages are paths in it. docs/index.md lists the pages.
root_doc = "docs/index"
include_patterns = ["*.md", "docs/*.md", "docs/reference/*.md", "docs/notebooks/*.ipynb"]
exclude_patterns = ["docs/_build", "docs/extensions", "bicoder", "tests", "benchmarks", "runs", "build", "dist", ".*"]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "plain_docstrings",  # before napoleon, which reads what it makes
    "sphinx.ext.napoleon",
    "mathml",
    "sections",
    "source_pages",
]

myst_enable_extensions = ["attrs_inline", "dollarmath"]
myst_heading_anchors = 6  # as on GitHub
# Notebooks are kept without outputs, and run for the site; what fails is an error.
nb_execution_mode = "force"
nb_execution_timeout = 120  # seconds of a cell
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_output_stderr = "remove"
nb_merge_streams = True

# Types of others have no page here, and the network is not asked for one; nor have those of our own that nobody makes.
INNER = "Arrangement|Batches|Masked|Pictures|Portions|Seed|Tensor"
nitpick_ignore_regex = [
    (r"py:.*", r"(numpy|np|keras|tensorflow|tf|collections|typing|pathlib|os|abc)\..*"),
    (r"py:class", rf"(bicoder\.engine\.[\w.]+\.|__main__\.)?({INNER})"),
]
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"bicoder {__version__}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["front"]  # index.html, which leads to the README
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False
