"""The parts of several processes are together the batches of one."""

import numpy as np
import pytest

from bicoder.cli.main import bicoder
from bicoder.data.loader import DataLoader
from bicoder.engine.batches import Batches
from bicoder.engine.part import part
from bicoder.errors import UsageError


@pytest.fixture
def loader(tmp_path, monkeypatch):
    """61 images in shards of 7, of which 49 are trained on: six batches of 8, and one of 1."""
    monkeypatch.setenv("BICODER_DATA", str(tmp_path / "cache"))
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (61, 5, 4), "uint8"))
    words = ["pack", str(tmp_path / "x.npy"), "--output", str(tmp_path / "shards"), "--shard_size", "7", "--quiet"]
    assert bicoder(words) == 0
    return lambda: DataLoader(tmp_path / "shards", batch_size=8, seed=3)


def epochs(loader, of, skip=0):
    """The global batches of the epochs 2 and 3, put together of the parts of so many processes."""
    sources = [loader().batches for _ in range(of)]
    for source in sources:
        source.epoch.assign(2)
        source.skip.assign(skip)
    found = []
    for _ in range(2):
        for parts in zip(*(part(source, process, of) for process, source in enumerate(sources)), strict=True):
            images, there = (np.concatenate(column) for column in zip(*parts, strict=True))
            assert len({len(some) for some, _ in parts}) == 1, "all processes have as many"
            found.append(images[there > 0])
    return found


@pytest.mark.parametrize("skip", [0, 3])
@pytest.mark.parametrize("of", [1, 2, 4, 8])
def test_the_parts_of_all_processes_are_the_batches(loader, of, skip):
    batches = Batches(np.asarray(loader().training_images), 8, 3)
    batches.epoch.assign(2)
    expected = [batch.numpy() for _ in range(2) for batch in batches.dataset()]
    for one, other in zip(epochs(loader, of, skip), expected[skip:], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_process_reads_its_own_part_alone(loader, monkeypatch):
    """A quarter of each batch, and one example to fill up a last batch that is shorter."""
    source, asked = loader().batches, []
    read = type(source.images).read
    monkeypatch.setattr(type(source.images), "read", lambda self, rows: asked.append(len(rows)) or read(self, rows))
    assert [int(there.sum()) for _, there in part(source, 3, 4)] == [2] * 6 + [0]
    assert asked == [2] * 7


@pytest.mark.fault(268)
@pytest.mark.parametrize(("process", "of", "words"), [(2, 2, "process"), (-1, 2, "process"), (0, 3, "batch_size")])
def test_processes_that_do_not_fit(loader, process, of, words):
    with pytest.raises(UsageError, match=words):
        next(part(loader().batches, process, of))
