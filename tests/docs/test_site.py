"""The documentation as a site: built without a warning, complete, of links that lead somewhere and of no other host."""

import os
import re
import subprocess
import sys
import zlib

import pytest
from conftest import ROOT
from test_component import FAMILIES, own_members

import bicoder
from bicoder.data.datasets import Dataset
from bicoder.fusions import Fusion
from bicoder.likelihoods import Likelihood
from bicoder.objectives import Objective
from bicoder.posteriors import Posterior
from bicoder.priors import Prior

LINKED = re.compile(r'<(\w+)[^>]*? (?:href|src)="([^"]*)"')


def sphinx(source, conf, output):
    """What Sphinx says, which builds with the options of `make docs`, but runs no notebook."""
    options = ["-q", "-E", "-n", "-W", "--keep-going", "-c", conf, "-d", output / "doctrees"]
    options += ["-D", "nb_execution_mode=off", "--no-color"]
    command = [sys.executable, "-m", "sphinx", *options, source, output / "html"]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site."""
    output = tmp_path_factory.mktemp("site")
    done = sphinx(ROOT, ROOT / "docs", output)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return output / "html"


@pytest.fixture(scope="module")
def pages(site):
    """Page -> its HTML."""
    return {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_every_link_leads_somewhere(site, pages):
    count = 0
    for page, text in pages.items():
        for tag, target in LINKED.findall(text):
            name, _, anchor = target.partition("#")
            if tag != "a" or re.match(r"\w+:", target):
                continue
            path = (page.parent / name.partition("?")[0]).resolve() if name else page
            assert path.is_file(), f"{page}: {target}"
            assert not anchor or path not in pages or f'id="{anchor}"' in pages[path], f"{page}: {target}"
            count += 1
    assert count > 1000


def test_no_other_host_is_asked(site, pages):
    """What a browser fetches by itself: scripts, styles, fonts, pictures; a link waits for a click."""
    for page, text in pages.items():
        for tag, target in LINKED.findall(text):
            assert tag == "a" or not re.match(r"\w*:?//", target), f"{page}: {target}"
    for style in site.rglob("*.css"):
        found = re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")]+)", style.read_text(encoding="utf-8"))
        assert all(target.startswith("data:") for target in found), f"{style}: {found}"


def test_every_public_name_is_in_the_reference(site):
    head, listed = (site / "objects.inv").read_bytes().split(b"zlib.\n")
    assert head
    names = {line.split(" ")[0] for line in zlib.decompress(listed).decode().splitlines()}
    public = [getattr(bicoder, name) for name in bicoder.__all__ if name != "__version__"]
    members = [cls for family in (*FAMILIES, Dataset) for cls in own_members(family).values()]
    assert {f"{item.__module__}.{item.__name__}" for item in [*public, *members]} <= names


def test_every_part_of_the_bound_has_its_formula():
    page = (ROOT / "docs" / "mathematics.md").read_text(encoding="utf-8")
    for family in (Likelihood, Posterior, Prior, Objective, Fusion):
        for cls in own_members(family).values():
            assert f"| [`{cls.__name__}`](" in page


def test_a_page_in_no_section_is_an_error(tmp_path):
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.append({str(ROOT / 'docs' / 'extensions')!r})\nextensions = ['myst_nb', 'sections']\n"
    )
    (tmp_path / "index.md").write_text("# All\n\n## Start\n\n- [One](one.md): the first\n")
    (tmp_path / "one.md").write_text("# One page\n")
    (tmp_path / "two.md").write_text("# Another page\n")
    done = sphinx(tmp_path, tmp_path, tmp_path / "out")
    assert done.returncode == 1
    [warning] = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert warning.startswith(f"{tmp_path / 'two.md'}: WARNING: document isn't included in any toctree"), warning
