"""Several views of other examples, treated as a run treated its own, whatever portions they come in."""

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from bicoder.data.likewise import Treatment
from bicoder.data.loader import DataLoader
from bicoder.data.pixels import Scaling
from bicoder.data.views_likewise import having, sources_of_views, views_like
from bicoder.engine.arrays.masked import Masked
from bicoder.errors import DataError

SIZES = {"a": (4, 3), "b": (5, 2)}
HOW = {view: Treatment((*size, 1), (*size, 1), Scaling(255, False)) for view, size in SIZES.items()}


@pytest.fixture(params=[300, 2**22], ids=["few at a time", "all at once"])
def portions(request, monkeypatch):
    """Portions of five rows, or of all."""
    for module in ("data.views_likewise", "engine.arrays.portions"):
        monkeypatch.setattr(f"bicoder.{module}.BYTES", request.param)


@pytest.fixture
def folder(tmp_path, rng):
    """Twelve examples of two views in class folders; the first three lack b, the last lacks a."""
    for view, size in SIZES.items():
        for i in range(12):
            path = tmp_path / "set" / view / ("x", "y")[i % 2] / f"{i:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if (i >= 3) if view == "b" else (i < 11):
                Image.fromarray(rng.integers(0, 256, size, "uint8")).save(path)
    return tmp_path / "set"


def gathered(found):
    """view -> name of an example -> its image, or None where it has none."""
    images = {}
    for portion in found.portions:
        for view, one in portion.items():
            there = one.there if isinstance(one, Masked) else np.ones(len(one))
            values = one.values if isinstance(one, Masked) else one
            images.setdefault(view, []).extend(v if t else None for v, t in zip(values, there, strict=True))
    return {view: dict(zip(found.names.tolist(), some, strict=True)) for view, some in images.items()}


def test_files_of_one_name_are_one_example(folder, portions, capsys):
    found = views_like(sources_of_views(folder, ["a", "b"]), HOW, "set")
    said = capsys.readouterr().out
    assert "set: 1 of 12 examples lack the view a." in said
    assert "set: 3 of 12 examples lack the view b." in said
    assert found.total == 12
    assert [found.label_names[label] for label in found.labels] == [name[0] for name in found.names]
    images, loader = gathered(found), DataLoader(folder, views=("a", "b"))
    for split, names in ((loader.training_images, loader.training_files), (loader.test_images, loader.test_files)):
        for view, one in split.items():
            there = one.there if isinstance(one, Masked) else np.ones(len(names))
            for row, name in enumerate(names):
                assert (images[view][name] is None) == (there[row] == 0)
                if there[row]:
                    values = one.values if isinstance(one, Masked) else one
                    np.testing.assert_array_equal(images[view][name], values[row])


def test_rows_of_arrays_are_one_example(tmp_path, portions, rng):
    arrays = {view: rng.integers(0, 256, (17, *size), "uint8") for view, size in SIZES.items()}
    np.savez(tmp_path / "two.npz", **arrays, more=np.zeros((9, 2)), labels=np.arange(17))
    found = views_like(sources_of_views(tmp_path / "two.npz", ["a", "b", "c"]), HOW, "two")
    np.testing.assert_array_equal(found.labels, np.arange(17))
    images = list(found.portions)
    for view, array in arrays.items():
        together = np.concatenate([portion[view] for portion in images])
        np.testing.assert_array_equal(together[..., 0], array / np.float32(255))


def test_files_that_are_given_one_by_one_belong_together(folder):
    paths = {"a": folder / "a" / "x" / "00.png", "b": folder / "b" / "y" / "05.png"}
    both = views_like(paths, HOW, "given")
    [portion] = both.portions
    for view, path in paths.items():
        np.testing.assert_array_equal(portion[view][0, ..., 0], np.asarray(Image.open(path)) / np.float32(255))
    one = views_like({"a": paths["a"]}, HOW, "given")
    assert (one.total, one.names.tolist()) == (1, ["00.png"])
    assert one.first(5)[0]["a"].shape == (1, 4, 3, 1)


def test_the_first_of_many_portions(tmp_path, portions, rng):
    np.savez(tmp_path / "one.npz", a=rng.integers(0, 256, (17, *SIZES["a"]), "uint8"))
    for count, expected in ((7, 7), (17, 17), (40, 17)):
        some = views_like(sources_of_views(tmp_path / "one.npz", ["a"]), HOW, "one").first(count)
        assert sum(len(portion["a"]) for portion in some) == expected


def test_memory_does_not_grow_with_the_examples(tmp_path, monkeypatch):
    for module in ("data.views_likewise", "engine.arrays.portions"):
        monkeypatch.setattr(f"bicoder.{module}.BYTES", 2**18)
    for view, size in SIZES.items():
        np.save(tmp_path / f"{view}.npy", np.zeros((200_000, *size), "uint8"))  # 4 MB together, and 18 as float32
    tracemalloc.start()
    found = views_like({view: tmp_path / f"{view}.npy" for view in SIZES}, HOW, "given")
    count = sum(len(batch["a"]) for batch in found.batches(512))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200_000
    assert peak < 14e6


def test_examples_that_have_one_of_some_views(folder):
    loader = DataLoader(folder, views=("a", "b"))
    split, lines = loader._training, []
    found = having(split, ["b"], lines.append)
    known = [name for name in split.names if int(name[2:4]) >= 3]
    assert found.names.tolist() == known
    assert list(found.images) == ["b"]
    left = len(split.names) - len(known)
    assert lines == ([f"{left} {'example' if left == 1 else 'examples'} of {len(split.names)} have none of the given "
                      "views, left out."] if left else [])  # fmt: skip
    nothing = split._replace(images={"b": Masked(split.images["b"].values, np.zeros(len(split.names)))})
    with pytest.raises(DataError, match="given: expected examples that have b, received none"):
        having(nothing, ["b"], lines.append)


@pytest.mark.fault(217)
def test_paths_that_hold_no_views(folder, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, *SIZES["a"])))
    for path in (folder / "a", tmp_path / "a.npy", folder / "a" / "x" / "00.png"):
        with pytest.raises(
            DataError, match=r"sub-folders, or an \.npz file with arrays, of some of the views a, b"
        ) as e:
            sources_of_views(path, ["a", "b"])
        assert "\n" not in str(e.value)
    with pytest.raises(DataError, match="sub-folders"):  # a name leads nowhere else
        sources_of_views(folder / "a", ["../b", ".."])
    np.save(tmp_path / "b.npy", np.zeros((3, *SIZES["b"]), "uint8"))
    with pytest.raises(DataError, match=r"given: expected as many images of each view, received 11 of a, 3 of b"):
        views_like({"a": folder / "a", "b": tmp_path / "b.npy"}, HOW, "given")
