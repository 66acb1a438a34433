"""How fast a folder of images is read, beside a plain loop over Pillow that uses `draft` too.

    python benchmarks/reading.py [--photos 500] [--small 100000] [--rounds 5]

All sides read the same files, which are made in a temporary folder, in turn, so that what else the machine does hits all
alike; the ratios are medians of the rounds. Processor time is that of all threads.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).parent.parent))
from bicoder.data.formats import reading

PHOTO, SIZE = (768, 1024), (64, 64)


def make_photos(folder, count, rng):
    """JPEG files of 1024x768, with the detail and the noise of a camera."""
    coarse = Image.fromarray(rng.integers(0, 256, (96, 128, 3), "uint8"))
    scene = np.asarray(coarse.resize(PHOTO[::-1], Image.Resampling.BICUBIC)).astype(int)
    for i in range(count):
        shifted = np.roll(scene, 7 * i, axis=1) + rng.integers(-8, 9, scene.shape)
        Image.fromarray(np.clip(shifted, 0, 255).astype("uint8")).save(folder / f"{i:06d}.jpg", quality=85)


def make_small(folder, count, rng):
    """PNG files of 28x28 grey pixels, dark but for a blot."""
    for i in range(count):
        image = np.zeros((28, 28), "uint8")
        image[6:22, 8:20] = rng.integers(0, 256, (16, 12))
        Image.fromarray(image).save(folder / f"{i:06d}.png")


def with_pillow(paths, size):
    """The plain loop."""
    images = []
    for path in paths:
        with Image.open(path) as image:
            if size:
                image.draft("RGB", size[::-1])
                images.append(np.asarray(ImageOps.fit(image.convert("RGB"), size[::-1], Image.Resampling.LANCZOS)))
            else:
                images.append(np.asarray(image))
    return np.stack(images)


def with_ours(paths, size):
    return reading.Pictures(paths[0].parent, paths, size, say=str).array()


def with_one_thread(paths, size):
    most, reading.MOST_THREADS = reading.MOST_THREADS, 1
    try:
        return with_ours(paths, size)
    finally:
        reading.MOST_THREADS = most


SIDES = {"ours": with_ours, "one thread": with_one_thread, "Pillow": with_pillow}


def compare(name, paths, size, rounds):
    """Print the times of all sides, and the medians of their ratios."""
    expected = with_pillow(paths, size)  # which warms the cache of the disk too
    times = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side, read in SIDES.items():
            wall, processor = time.perf_counter(), time.process_time()
            found = read(paths, size)
            times[side].append((time.perf_counter() - wall, time.process_time() - processor))
            np.testing.assert_array_equal(np.squeeze(found), np.squeeze(expected))
    print(f"\n{name}: {len(paths):,} files")
    for side, found in times.items():
        wall, processor = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"  {side:12}{wall:8.2f} s{processor:8.2f} s of the processor")
    for what, side, other, column in (
        ("processor time beside Pillow", "ours", "Pillow", 1),
        ("wall time beside one thread", "ours", "one thread", 0),
    ):
        ratios = [a[column] / b[column] for a, b in zip(times[side], times[other], strict=True)]
        print(f"  {what}: {statistics.median(ratios):.2f}, from {min(ratios):.2f} to {max(ratios):.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("--photos", 500), ("--small", 100_000), ("--rounds", 5)):
        parser.add_argument(name, type=int, default=default)
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {cores} cores, Python {platform.python_version()}")
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for name, make, count, size in (
            ("JPEG of 1024x768 to 64x64", make_photos, args.photos, SIZE),
            ("PNG of 28x28", make_small, args.small, None),
        ):
            place = Path(folder, name.split()[0])
            place.mkdir()
            make(place, count, rng)
            compare(name, sorted(place.iterdir()), size, args.rounds)


if __name__ == "__main__":
    main()
