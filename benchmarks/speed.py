"""How fast training is beside what one would use instead: `make bench`, which writes docs/performance.md.

    python benchmarks/speed.py [--rows mlp,conv,...] [--others PYTHON] [--data_dir DIR] [--color_dir DIR]
    python benchmarks/speed.py --table

All ratios of a row are from one run: every side is a process of its own, and they train for one epoch each in turn, so
that what else the machine does hits all alike. Before anything is timed, all sides must find the same loss for the same
weights, images and noise; after it, their losses must have fallen alike. Rows are kept in benchmarks/results/speed.json.
"""

import argparse
import datetime
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pages
import speed_page
from inputs import Inputs
from processes import HERE, ROOT, started, time_commands

RESULTS = HERE / "results" / "speed.json"
FAST = ["ours", "torch", "torch_compile", "jax"]
EVERY = [*FAST, "pythae", "keras", "straightforward"]
SLICES = ["ours", "without_keras", "without_noise", "without_adam", "batches_only"]

# Rows of epochs that are timed in turn. `count` are images of an epoch; a side may have a part of
# them, and is scaled. Sides must agree on the loss before they train, and within `tolerance` on that of the last epoch;
# where a row has a tolerance of its own, its sides do not all train.
EPOCHS = {
    "mlp": {"sides": [*EVERY, "numpy_products", "tensorflow_products", "xla_products"], "rounds": 31},
    "batch32": {"sides": FAST, "batch": 32, "count": 15_000},
    "batch512": {"sides": FAST, "batch": 512},
    "batch2048": {"sides": FAST, "batch": 2048},
    "cores2": {"sides": FAST, "cores": 2},
    "conv": {
        "sides": [*EVERY, "own_threads", "tensorflow_products"],
        "network": "conv",
        "count": 9600,
        "rounds": 9,
        "parts": {"jax": 0.04},
    },
    "growth": {"sides": ["ours", "ours_half"], "parts": {"ours_half": 0.5}, "rounds": 11},
    "stream": {"sides": ["ours", "ours_stream"]},
    "conv_stream": {"sides": ["ours", "ours_stream"], "network": "conv", "count": 9600},
    "bfloat16": {"sides": ["ours", "bfloat16"], "tolerance": 0.01},
    "profile": {"sides": SLICES, "rounds": 11, "tolerance": math.inf},
    "conv_profile": {"sides": SLICES, "network": "conv", "count": 9600, "rounds": 7, "tolerance": math.inf},
    "nll": {"sides": ["ours_nll", "torch_nll"], "count": 200, "batch": 100, "rounds": 3, "tolerance": 0.002},
    "tsne": {"sides": ["ours_tsne", "plain_tsne"], "count": 10_000, "rounds": 9, "tolerance": math.inf},
}


def check_losses(losses, tolerance, what):
    """`SystemExit` where sides do not agree."""
    if not losses:
        return
    middle = statistics.median(losses.values())
    wrong = {name: loss for name, loss in losses.items() if not abs(loss - middle) <= tolerance * abs(middle)}
    if wrong:
        raise SystemExit(f"{what}: expected {middle:.6g} within {tolerance:g} of it, received {wrong}; all: {losses}")


def time_epochs(name, row, inputs, args):
    """Seconds of the epochs of all sides of a row, in turn."""
    images, weights, batch = inputs.get(row.get("network", "mlp"))
    available = len(np.load(images, mmap_mode="r"))
    count = min(row.get("count", available), args.images or available, available)
    counts = {side: max(1, int(count * row.get("parts", {}).get(side, 1.0))) for side in row["sides"]}
    request = {"network": row.get("network", "mlp"), "images": images, "weights": weights}
    with started(counts, args, cores=row.get("cores")) as sides:
        for side in sides:
            side.tell(do="prepare", count=counts[side.name], batch=row.get("batch", 128), **request)
        for side in sides:
            side.hear()
        if "tolerance" not in row:
            check_first_losses(name, sides, batch)
        answers = in_turn(sides, args.rounds or row.get("rounds", 5))
    last = {side: a[-1]["loss"] for side, a in answers.items() if "loss" in a[-1] and counts[side] == count}
    check_losses(last, row.get("tolerance", 0.03), f"{name}: loss of the last epoch")
    return {
        "images": count,
        "shortened": {side: n for side, n in counts.items() if n < count},
        "losses": last,
        "memory": {side: a[-1]["memory"] for side, a in answers.items()},
        "seconds": {side: [a["seconds"] * count / counts[side] for a in taken] for side, taken in answers.items()},
    }


def in_turn(sides, rounds):
    """What the sides answer to epochs in turn; the first of each is to get warm, compiles, and is left out."""
    answers = {side.name: [] for side in sides}
    for i in range(rounds + 1):
        start = i % len(sides)  # another one begins every time
        for side in sides[start:] + sides[:start]:
            answers[side.name].append(side.ask(do="epoch"))
    return {name: taken[1:] for name, taken in answers.items()}


def check_first_losses(name, sides, batch):
    """All that train must find the same loss for the same weights, images and noise."""
    losses = {side.name: side.ask(do="loss", batch=batch)["loss"] for side in sides if side.trains}
    check_losses(losses, 1e-4, f"{name}: loss of the same weights, images and noise")
    print(
        f"  {len(losses)} sides find the same loss, {min(losses.values()):.4f} to {max(losses.values()):.4f}",
        flush=True,
    )


def time_first_epoch(inputs, args):
    """Seconds from data in memory to the end of the first epoch, with nothing compiled before."""
    images, weights, _ = inputs.get("mlp")
    seconds = {"ours": [], "torch_compile": []}
    count = args.images or 60_000
    for _ in range(args.rounds or 2):
        for name, values in seconds.items():
            with (
                tempfile.TemporaryDirectory() as cache,
                started([name], args, {"TORCHINDUCTOR_CACHE_DIR": cache}) as [side],
            ):
                side.ask(do="prepare", network="mlp", images=images, weights=weights, batch=128, count=count)
                values.append(side.ask(do="epoch")["seconds"])
    return {"seconds": seconds, "images": count}


def time_programs(inputs, args):
    """`train_vae.py` and the straightforward program, from the start to the picture."""
    from bicoder import DataLoader

    path, *_ = DataLoader("mnist_bw", data_dir=args.data_dir).dataset.fetch_all()
    with tempfile.TemporaryDirectory() as folder:
        ours = [sys.executable, "train_vae.py", "--dset", "mnist_bw", "--epochs", str(args.epochs), "--no_download"]
        ours += ["--generate_from_prior", "--run_dir", f"{folder}/run", "--overwrite"]
        ours += ["--data_dir", args.data_dir] if args.data_dir else []
        other = [sys.executable, HERE / "straightforward.py", path, str(args.epochs), f"{folder}/prior.png"]
        imports = [sys.executable, "-c", "import tensorflow, keras"]
        return time_commands({"ours": ours, "straightforward": other, "imports": imports}, args.rounds or 5) | {
            "epochs": args.epochs
        }


def time_start(inputs, args):
    """`import bicoder` and `--help`."""
    commands = {
        "import": [sys.executable, "-c", "import bicoder"],
        "help": [sys.executable, "train_vae.py", "--help"],
    }
    return time_commands(commands, args.rounds or 5)


COLOR = """
import json, sys, time
sys.path.insert(0, {here!r})
from side import peak_memory
import tensorflow as tf
tf.config.list_logical_devices()
tf.zeros((1,)).numpy()
import keras, bicoder
result = {{"idle": peak_memory()}}
begun = time.perf_counter()
data = bicoder.DataLoader("mnist_color", data_dir={data!r}, download=False).training_data
next(iter(data))
result["seconds"] = time.perf_counter() - begun
if {train}:
    vae = bicoder.VAE(seed=0)
    vae.compile()
    vae.fit(data, steps_per_epoch=64, verbose=0)
result["peak"] = peak_memory()
print(json.dumps(result))
"""


def measure_color(inputs, args):
    """From the start to the first batch of one view, the first time and later, and the memory that training takes."""
    names = ("mnist_color.pkl", "mnist_color_te.pkl", "mnist_color_y_te.npy")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:  # a folder of its own, so that nothing of an earlier run is in it
            (Path(folder) / name).symlink_to((Path(args.color_dir) / name).resolve())
        reading = [read_once(Path(args.color_dir) / names[0]) for _ in range(3)]
        forget(*(Path(args.color_dir) / name for name in names))  # the first run, too, reads from the disk
        runs = []
        for train in (False, False, True):
            code = COLOR.format(here=str(HERE), data=folder, train=train)
            command, env = [sys.executable, "-c", code], os.environ | {"PYTHONPATH": str(ROOT)}
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)
            if done.returncode:
                raise SystemExit(f"color: exit code {done.returncode}\n{done.stderr[-3000:]}")
            runs.append(json.loads(done.stdout.splitlines()[-1]))
    seconds = {"first": [runs[0]["seconds"]], "later": [run["seconds"] for run in runs[1:]], "reading": reading}
    return {"seconds": seconds, "idle": runs[2]["idle"], "peak": runs[2]["peak"], "first_peak": runs[0]["peak"]}


def forget(*paths):
    """Let the system drop what it has in memory of some files."""
    for path in paths:
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_once(path):
    """Seconds to read a file from the disk, from its beginning to its end."""
    forget(path)
    block, begun = bytearray(2**24), time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(block):
            pass
    return time.perf_counter() - begun


MEASUREMENTS = {"first": time_first_epoch, "program": time_programs, "start": time_start, "color": measure_color}
ROWS = [*EPOCHS, *MEASUREMENTS]


def machine(args):
    """Processor, cores and versions, those of the other environment too."""
    about = pages.machine()
    code = "import importlib.metadata as m; print(*(m.version(n) for n in ('torch', 'jax', 'pythae')))"
    other = subprocess.run([args.others, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    about["versions"] |= dict(zip(("torch", "jax", "pythae"), other, strict=True))
    return about


def measure(args):
    """Measure the rows that were asked for, and keep each as soon as it is there."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, about = Inputs(Path(folder), args), machine(args)
        for name in args.rows:
            if name == "color" and not args.color_dir:
                print("color: left out, since --color_dir is not given", flush=True)
                continue
            print(f"{name} ...", flush=True)
            begun = time.perf_counter()
            if name in EPOCHS:
                result = time_epochs(name, EPOCHS[name], inputs, args)
            else:
                result = MEASUREMENTS[name](inputs, args)
            taken = round(time.perf_counter() - begun)
            result |= {"date": datetime.date.today().isoformat(), "taken": taken, "machine": about}
            results = json.loads(args.results.read_text()) if args.results.exists() else {}
            args.results.parent.mkdir(parents=True, exist_ok=True)
            args.results.write_text(json.dumps(results | {name: result}, indent=1) + "\n")
            for side, values in result["seconds"].items():
                print(f"  {side:<20}{statistics.median(values):9.3f} s   {min(values):.3f} to {max(values):.3f}")
            print(f"  took {taken} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"some of {','.join(ROWS)} (default: all)")
    parser.add_argument(
        "--others",
        metavar="PYTHON",
        default=str(ROOT / ".venv-bench/bin/python"),
        help="the other environment's Python",
    )
    parser.add_argument("--data_dir", help="the folder of MNIST (default: where the program keeps it)")
    parser.add_argument("--color_dir", help="the folder of mnist_color (default: its rows are left out)")
    parser.add_argument("--rounds", type=int, help="how often each side is timed (default: 2 to 31, see EPOCHS)")
    parser.add_argument("--images", type=int, help="images of an epoch, to try things out (default: all)")
    parser.add_argument("--conv_images", type=int, default=9600, help="images for the convolutions (default: 9600)")
    parser.add_argument("--epochs", type=int, default=20, help="of whole programs (default: 20)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="write docs/performance.md from what was measured")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="the folder that the page is written to")
    args = parser.parse_args()
    args.rows = [name for name in args.rows.split(",") if name]
    if unknown := set(args.rows) - set(ROWS):
        parser.error(f"rows: expected some of {', '.join(ROWS)}, received {', '.join(unknown)}")
    if args.table:
        speed_page.write(json.loads(args.results.read_text()), args.docs)
    else:
        measure(args)


if __name__ == "__main__":
    main()
