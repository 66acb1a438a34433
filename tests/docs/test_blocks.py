"""Every block of commands and of Python in the pages is run as it stands there, or says why it is not.

What is said stands in a comment on the line before the block, which readers do not see:

    <!-- not run: it takes an hour -->
    <!-- run with a hundredth of the epochs -->
    <!-- saved as student_t.py -->

The blocks of a page run one after the other, in a folder that has what the pages speak of: runs, and photos.
"""

import glob
import re
import shlex
import shutil
from typing import NamedTuple

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from sklearn.datasets import load_digits

from bicoder.cli import main as cli

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = {"text", "json", "csv", "toml"}  # what is to be read
BLOCK = re.compile(r"^(?:<!-- ([^\n]+) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"not run: \S+ .+|run with a hundredth of the epochs|saved as [a-z_]+\.py")
EPOCHS = re.compile(r"(?<=epochs=)\d+|(?<=--epochs )\d+|(?<=\"--epochs\", type=int, default=)\d+")


class Block(NamedTuple):
    """A block of a page, and what its comment says of it."""

    mark: str
    kind: str
    text: str


def blocks(page):
    """Those of commands and of Python."""
    found = [Block(*block) for block in BLOCK.findall(page.read_text(encoding="utf-8"))]
    return [block for block in found if block.kind not in SHOWN]


def to_run(page):
    """Those that are not only to be read."""
    return [block for block in blocks(page) if not block.mark.startswith("not run")]


def words(text):
    """The words of each command, without comments, with the files that a * stands for."""
    for line in text.replace("\\\n", " ").splitlines():
        if found := shlex.split(line, comments=True):
            yield [file for word in found for file in (sorted(glob.glob(word)) if "*" in word else [word])]


def command(first, *arguments):
    """Run a command in this process, by the function that pyproject.toml has for its name."""
    if (first, *arguments[:1]) == ("python", "train_vae.py"):
        first, *arguments = "train_vae", *arguments[1:]
    program = {"train_vae": cli.main, "bicoder": cli.bicoder}[first]
    assert program([*arguments]) == 0, " ".join((first, *arguments))


def run(block, names):
    text = block.text
    if block.mark.startswith("run with"):
        text = EPOCHS.sub(lambda found: str(max(1, int(found[0]) // 100)), text)
        assert text != block.text
    if block.kind in ("sh", "bash", "console"):
        for found in words(text):
            command(*found)
    elif block.mark.startswith("saved as"):
        with open(block.mark.split()[-1], "w", encoding="utf-8") as file:
            file.write(text)
    else:
        exec(compile(text, text.splitlines()[0], "exec"), names)


@pytest.fixture(scope="module")
def my_run(tmp_path_factory):
    """A run on the digits."""
    folder = tmp_path_factory.mktemp("run") / "my_run"
    command("bicoder", "train", "--epochs", "2", "--run_dir", str(folder), "--no_pictures", "--quiet")
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch, my_run):
    """The folder that the blocks of a page find themselves in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sys.argv", ["program.py", "--dset", "digits"])
    for name in ("my_run", "a", "b", "c"):
        shutil.copytree(my_run, tmp_path / "runs" / name)
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(load_digits().images[:6]):  # of 0 and 1, since the run has pixels from 0 to 1
        Image.fromarray((image > 8).astype("uint8")).save(tmp_path / "photos" / f"{number}.png")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_is_run_or_says_why_not(page):
    for block in blocks(page):
        assert block.kind in ("sh", "bash", "console", "python"), f"what is {block.kind or 'a block of no language'}?"
        assert not block.mark or MARK.fullmatch(block.mark), block.mark
    marks = re.findall("^<!-- (?:not run|run with|saved as)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(marks) == sum(bool(block.mark) for block in blocks(page)), "a mark stands before no block"


@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page)], ids=lambda page: page.stem)
def test_blocks_run(page, place):
    photos = np.random.default_rng(0).random((40, 8, 8, 1), "float32")
    names = {"__name__": "__main__", "photos": photos, "depths": 1.0 - photos}
    for block in to_run(page):
        run(block, names)


def test_a_block_that_does_not_run_is_seen(place):
    with pytest.raises(ImportError, match="tabel"):
        run(Block("", "python", "from bicoder.evaluation.measure import tabel\n"), {})
    with pytest.raises(AssertionError, match="encode runs/nowhere"):
        run(Block("", "sh", "bicoder encode runs/nowhere  # a comment\n"), {})
    with pytest.raises(KeyError, match="make"):
        run(Block("", "sh", "make run\n"), {})
