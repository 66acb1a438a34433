"""What `bicoder evaluate` and `bicoder generate` do with a run folder."""

import argparse
import json
import math
import shutil
from pathlib import Path

from bicoder.errors import MOST_IN_A_GRID, ModelError, UsageError
from bicoder.files.whole_file import whole_file
from bicoder.pictures.picture import Subject, draw
from bicoder.runs.config import read_config
from bicoder.runs.folder import CONFIG
from bicoder.runs.train import import_keras, load_data

EVALUATION, KL = "evaluation.json", "kl.png"
# What `load_data` takes from the arguments of a run.
NEEDED = (
    "dset",
    "view",
    "image_size",
    "data_dir",
    "mirror",
    "no_download",
    "binarize",
    "batch_size",
    "seed",
    "network",
)
PORTION = 1000  # images that are drawn at a time
LARGEST_PICTURE = 2**29  # numbers of all its images, 2 GB


def evaluate_run(args):
    """Print the numbers of a run's model on its test images; write evaluation.json and kl.png into its folder."""
    folder = Path(args.run)
    config = read_config(folder)
    if missing := [name for name in NEEDED if name not in config["arguments"]]:
        raise ModelError(
            f"{folder / CONFIG}: arguments: expected {missing[0]!r}, which says what data the run had, received none; "
            "the program writes it; in Python, bicoder.evaluate(bicoder.load(folder), images) needs none"
        )
    refuse_existing((folder / EVALUATION, folder / KL), args.overwrite)
    arguments = argparse.Namespace(**{"stream": False} | config["arguments"])  # older runs had no such argument
    arguments.data_dir = args.data_dir or arguments.data_dir
    loader = load_data(arguments)
    import_keras()
    from bicoder.evaluation.measure import evaluate, table
    from bicoder.runs.load import load

    vae = load(folder, args.force)
    numbers = evaluate(vae, loader, args.num_samples, args.seed, progress=True)
    text = json.dumps(numbers, indent=2)
    print(text if args.json else table(numbers), flush=True)  # before anything can go wrong with the files
    with whole_file(folder / EVALUATION) as part:
        part.write_text(text + "\n", encoding="utf-8")
    written = [folder / EVALUATION, *draw(Subject(vae, numbers=numbers), folder, command="evaluate")]
    if not args.json:
        print("\n" + "\n".join(map(str, written)))


def generate_from_run(args):
    """Write images from the prior of a run's model: a grid as a picture, or an array."""
    output = Path(args.output or Path(args.run) / "generated.png")
    if output.suffix not in (".png", ".npy"):
        raise UsageError(f"output: expected a file that ends with .png or .npy, received {str(output)!r}")
    config = read_config(args.run)
    if not output.parent.is_dir():
        raise UsageError(f"output: expected a file in a folder that exists, received {str(output)!r}")
    refuse_existing([output], args.overwrite)
    shape = (args.num_images, *config["input_shape"])
    check_room(shape, output)
    import_keras()
    import numpy as np

    from bicoder.runs.load import load

    vae = load(args.run, args.force)
    images = portions(vae, args.num_images, args.seed)
    if output.suffix == ".npy":
        with whole_file(output) as part, open(part, "wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            file.writelines(portion.astype("<f4").tobytes() for portion in images)
    else:
        from bicoder.pictures.gallery import generated

        shape = config["data"].get("image_shape")
        generated(Subject(vae, images=np.concatenate(list(images)), image_shape=shape), output)
    print(output)


def refuse_existing(paths, overwrite):
    """`UsageError` where one of the files is there already, unless it may be replaced."""
    for path in paths:
        if path.is_dir() or (path.exists() and not overwrite):
            what = "is a folder" if path.is_dir() else "is there already; add --overwrite to replace it"
            raise UsageError(f"output: {path} {what}")


def check_room(shape, output):
    """`UsageError` where images of this shape, (N, ...), do not fit: into a picture and the memory, or on the disk."""
    count, size = shape[0], 4 * math.prod(shape)
    if output.suffix == ".npy":
        free = shutil.disk_usage(output.parent).free
        if size > free:
            raise UsageError(f"num_images: {count:,} images are {size:,} bytes, and {output.parent} has {free:,} free")
    elif count > MOST_IN_A_GRID or size > 4 * LARGEST_PICTURE:
        most = min(MOST_IN_A_GRID, LARGEST_PICTURE // math.prod(shape[1:]))
        raise UsageError(
            f"num_images: expected at most {most:,} images of shape {shape[1:]} in a picture, received {count:,}; "
            "--output FILE.npy takes more"
        )


def portions(vae, count, seed):
    """`count` images from the prior in arrays of at most `PORTION`, so that memory does not grow with them.

    The first portion has the seed itself: so many images are those of `VAE.generate(count, seed)`.
    """
    import numpy as np
    from tqdm import tqdm

    rng = np.random.default_rng(seed)
    for start in tqdm(range(0, count, PORTION), "images", disable=None if count > PORTION else True, leave=False):
        yield np.asarray(vae.generate(min(PORTION, count - start), seed))
        seed = int(rng.integers(2**31))
