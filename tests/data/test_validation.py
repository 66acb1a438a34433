"""Validation images: a share of the training images, set aside to choose by; test images do not depend on them."""

import numpy as np
import pytest
from PIL import Image

from bicoder.data.loader import DataLoader
from bicoder.data.stored.stored_images import StoredImages
from bicoder.errors import UsageError


@pytest.fixture
def own(tmp_path, rng):
    """The path of a file of 50 images that are all different, the first pixels of which are their labels."""
    images = rng.integers(0, 256, (50, 6, 5), "uint8")
    images[:, 0, 0] = np.arange(50)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(50))
    return tmp_path / "own.npz"


@pytest.fixture
def with_test(tmp_path, rng):
    """The path of a file with 40 training images, and 12 test images of their own."""
    train, test = (rng.integers(0, 256, (count, 6, 5), "uint8") for count in (40, 12))
    np.savez(tmp_path / "two.npz", x_train=train, x_test=test, y_train=np.arange(40), y_test=np.arange(12))
    return tmp_path / "two.npz"


def rows(images):
    return [image.tobytes() for image in np.asarray(images)]


@pytest.mark.parametrize("binarize", [None, "static", "dynamic"])
@pytest.mark.parametrize("file", ["own", "with_test"])
def test_without_validation_there_are_none(file, request, binarize):
    loader = DataLoader(request.getfixturevalue(file), binarize=binarize)
    assert (loader.validation_images, loader.validation_labels, loader.validation_data) == (None, None, None)


def test_without_validation_nothing_changes(own):
    """The split of the numbers as it has always been, by its seed: written out, so that no later split can differ."""
    loader = DataLoader(own, seed=3)
    order = np.random.default_rng(3).permutation(50)
    assert loader.test_labels.tolist() == order[:10].tolist()
    assert loader.training_labels.tolist() == order[10:].tolist()
    assert (loader.training_images[:, 0, 0, 0] * 255).round().astype(int).tolist() == order[10:].tolist()


@pytest.mark.parametrize(("share", "count"), [(0.1, 4), (0.001, 1), (0.5, 20), (0.97, 39)])
def test_a_share_of_the_training_images_is_set_aside(with_test, capsys, share, count):
    whole, loader = DataLoader(with_test), DataLoader(with_test, validation=share)
    assert len(loader.validation_images) == len(loader.validation_labels) == count
    assert len(loader.training_images) == 40 - count
    assert capsys.readouterr().err == f"{with_test}: {count} of 40 training images are set aside for validation.\n"
    there = dict(zip(rows(whole.training_images), whole.training_labels, strict=True))
    for images, labels in (
        (loader.training_images, loader.training_labels),
        (loader.validation_images, loader.validation_labels),
    ):
        assert [there[row] for row in rows(images)] == labels.tolist()
    assert sorted([*loader.training_labels, *loader.validation_labels]) == list(range(40))


@pytest.mark.parametrize("binarize", [None, "static", "dynamic"])
@pytest.mark.parametrize("file", ["own", "with_test"])
def test_test_images_do_not_depend_on_validation(file, request, binarize):
    path = request.getfixturevalue(file)
    loaders = [DataLoader(path, binarize=binarize, validation=share, seed=5) for share in (0, 0.1, 0.5)]
    for loader in loaders[1:]:
        np.testing.assert_array_equal(loader.test_images, loaders[0].test_images)
        np.testing.assert_array_equal(loader.test_labels, loaders[0].test_labels)
        assert not {*rows(loader.test_images)} & {*rows(loader.validation_images), *rows(loader.training_images)}


def test_the_split_follows_its_own_seed(own):
    """By default that is `seed`; with a seed of its own, `seed` moves nothing but the order of the batches."""
    labels = lambda **options: [  # noqa: E731
        found.tolist()
        for loader in [DataLoader(own, validation=0.2, **options)]
        for found in (loader.training_labels, loader.validation_labels, loader.test_labels)
    ]
    assert labels(seed=1) == labels(seed=7, split_seed=1) == labels(split_seed=1)
    for one, other in zip(labels(seed=1), labels(seed=1, split_seed=2), strict=True):
        assert one != other
    assert DataLoader(own, seed=9, split_seed=4).test_labels.tolist() == DataLoader(own, seed=4).test_labels.tolist()
    first = [next(iter(DataLoader(own, 8, seed=s, split_seed=0).training_data)).numpy() for s in (0, 1, 0)]
    np.testing.assert_array_equal(first[0], first[2])
    assert not np.array_equal(first[0], first[1])


def test_validation_data_are_all_images_in_their_order(own):
    loader = DataLoader(own, batch_size=3, validation=0.2)
    batches = [batch.numpy() for batch in loader.validation_data]
    assert [len(batch) for batch in batches] == [3, 3, 2]
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate(list(loader.validation_data)), loader.validation_images)


@pytest.mark.parametrize("binarize", ["static", "dynamic"])
def test_validation_images_are_drawn_once_always_the_same(own, binarize):
    """With their grey values as probabilities, whatever the seed of the batches is; and not as the test images are."""
    grey = DataLoader(own, validation=0.4, split_seed=2)
    loaders = [DataLoader(own, validation=0.4, split_seed=2, seed=seed, binarize=binarize) for seed in (0, 1)]
    for loader in loaders:
        assert set(np.unique(loader.validation_images)) == {0.0, 1.0}
        np.testing.assert_array_equal(loader.validation_images, loaders[0].validation_images)
        assert abs(loader.validation_images.mean() - grey.validation_images.mean()) < 0.08
    drawn = {*np.unique(loaders[0].training_images)} == {0.0, 1.0}  # dynamic ones are drawn batch by batch
    assert drawn == (binarize == "static")


@pytest.mark.parametrize("binarize", [None, "static", "dynamic"])
def test_the_same_images_from_a_file(tmp_path, rng, binarize):
    np.save(tmp_path / "x.npy", rng.integers(0, 256, (50, 6, 5), "uint8"))
    options = {"seed": 3, "binarize": binarize, "data_dir": tmp_path / "cache", "validation": 0.1}
    memory = DataLoader(tmp_path / "x.npy", **options)
    for _ in range(2):  # converted, and found
        stream = DataLoader(tmp_path / "x.npy", stream=True, **options)
        for name in ("training_images", "validation_images", "test_images"):
            found = getattr(stream, name)
            assert isinstance(found, StoredImages)
            np.testing.assert_array_equal(found[:], getattr(memory, name))
        np.testing.assert_array_equal(
            np.concatenate(list(stream.validation_data)), np.concatenate(list(memory.validation_data))
        )
    drawn = {None: 0, "dynamic": 2, "static": 3}[binarize]
    arrays = [path for path in (tmp_path / "cache" / "converted").glob("*.npy") if not path.name.startswith(".")]
    assert len(arrays) == 1 + drawn


def test_vectors_folders_and_digits(tmp_path):
    for i in range(10):
        path = tmp_path / ("dark" if i < 5 else "light") / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (6, 4), (i * 20,) * 3).save(path)
    loader = DataLoader(tmp_path, validation=0.25)
    assert [len(x) for x in (loader.training_images, loader.validation_images, loader.test_images)] == [6, 2, 2]
    np.testing.assert_array_equal(loader.validation_labels, loader.validation_images[:, 0, 0, 0] > 90 / 255)
    assert DataLoader(tmp_path, validation=0.25, flatten=True).validation_images.shape == (2, 72)
    assert DataLoader("digits", validation=0.1).validation_images.shape == (144, 64)


@pytest.mark.parametrize(("count", "share"), [(1, 0.1), (2, 0.1), (3, 0.9)])
def test_shares_that_leave_nothing_to_train_on(tmp_path, rng, count, share):
    """Of one image, or of two of which one is held out for testing already."""
    np.save(tmp_path / "x.npy", rng.random((count, 4, 3)))
    with pytest.raises(
        UsageError, match=r"^validation: expected a share that leaves some to train on, received"
    ) as one:
        DataLoader(tmp_path / "x.npy", validation=share)
    assert f"{share} of {max(1, count - 1)} training image" in str(one.value)
    assert len(DataLoader(tmp_path / "x.npy").training_images) == max(1, count - 1)


@pytest.mark.parametrize("share", [1, -0.1, 1.5, float("nan"), True, "0.1", None])
def test_a_share_that_is_none(share):
    with pytest.raises(UsageError, match=r"^validation: expected a number from 0 and below 1, received "):
        DataLoader("digits", validation=share)


@pytest.mark.parametrize("seed", [-1, 2**31, 1.5, "0", True])
def test_a_seed_of_the_split_that_is_none(seed):
    with pytest.raises(UsageError, match=r"^split_seed: expected a whole number from 0 to 2147483647, received "):
        DataLoader("digits", split_seed=seed)
