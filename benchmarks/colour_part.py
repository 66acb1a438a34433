"""A random part of `mnist_color`, written as the whole is, for trainings that should take minutes.

    python benchmarks/colour_part.py DATA_DIR OUT_DIR [--train 10000] [--test 2000] [--seed 0]

Rows of `mnist_color` are sorted by digit, so that a slice of it would be some of the digits; these are drawn by chance,
without replacement, the same rows of all views. OUT_DIR is then a `--data_dir`; training labels are taken along if
DATA_DIR has them, in `mnist_color_y.npy`.
"""

import argparse
import pickle
from pathlib import Path

import numpy as np

from bicoder.data.formats.pickles import read_views
from bicoder.data.views import VIEWS
from bicoder.files.whole_file import whole_file


def rows_of(count, total, seed):
    """So many rows of all, without any twice, in the order in which they are drawn."""
    return np.random.default_rng(seed).permutation(total)[:count]


def write_part(source, images, labels, target, count, seed):
    """Write the same random rows of all views of a pickle and of its labels, if these are there."""
    with whole_file(target / images) as new:
        part = {}
        for view in VIEWS:
            array = read_views(source / images, [view], VIEWS)[0]
            part[view] = np.ascontiguousarray(array[rows_of(count, len(array), seed)], "float32")
        with open(new, "wb") as file:
            pickle.dump(part, file, protocol=4)
    if (source / labels).exists():
        known = np.load(source / labels, allow_pickle=False)
        with whole_file(target / labels) as new, open(new, "wb") as file:
            np.save(file, known[rows_of(count, len(known), seed)])


def part_of(source, target, train=10_000, test=2_000, seed=0):
    """The folder of a part of the files in a folder; it is made if it is not there."""
    if not (target / "mnist_color_y_te.npy").exists():
        target.mkdir(parents=True, exist_ok=True)
        write_part(source, "mnist_color.pkl", "mnist_color_y.npy", target, train, seed)
        write_part(source, "mnist_color_te.pkl", "mnist_color_y_te.npy", target, test, seed)
    return target


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--train", type=int, default=10_000)
    parser.add_argument("--test", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(part_of(args.source, args.target, args.train, args.test, args.seed))


if __name__ == "__main__":
    main()
