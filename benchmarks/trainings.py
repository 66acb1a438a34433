"""What the scripts share that train by the commands, keep what they measured, and write it into pages."""

import argparse
import datetime
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

from pages import machine

ROOT = Path(__file__).resolve().parent.parent
BICODER = ["-c", "from bicoder.cli.main import bicoder; raise SystemExit(bicoder())"]


def command(code, *arguments):
    """Run a command as a process of its own; what it prints."""
    done = subprocess.run([sys.executable, *code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))} failed")
    return done.stdout


def kept(path):
    """What was measured: key -> result."""
    return json.loads(path.read_text()) if path.exists() else {}


def keep(path, key, result):
    """Keep one result beside the others, at once: whoever stops the script loses nothing else."""
    path.write_text(json.dumps(kept(path) | {key: result}, indent=1) + "\n")


def spread(found, key, digits, factor=1.0, shift=0.0):
    """Mean and standard deviation over the seeds, as text."""
    if any(key not in result["numbers"] for result in found):
        return ""
    values = [factor * result["numbers"][key] + shift for result in found]
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def caption(found):
    """How many seeds, and on what they were measured."""
    seeds = "One seed" if len(found) == 1 else f"Seeds 0 to {len(found) - 1}: mean ± standard deviation"
    about = sorted({(f"{r['machine']['cores']} cores of {r['machine']['processor']}", r["date"]) for r in found})
    versions = found[-1]["machine"]["versions"]
    where = "; ".join(f"{place}, {date}" for place, date in about)
    return f"{seeds}. {where}; TensorFlow {versions['tensorflow']}, Keras {versions['keras']}."


def shrink(source, path):
    """256 colours are enough for a page, and a third of the size."""
    from PIL import Image

    with Image.open(source) as image:
        small = image.convert("RGB").quantize(256)
    small.save(path, optimize=True)


def same(settings, wanted, *but):
    """Whether settings are those that are wanted, whatever some of them are."""
    return all(settings.get(key) == value for key, value in wanted.items() if key not in but)


def train(folder, wanted, before, data_dir, pictures):
    """Train, or go on with a training of the same settings that was stopped or had fewer epochs; seconds an epoch."""
    data = ["--data_dir", data_dir, "--no_download"]
    epochs, goes_on = ["--epochs", wanted["epochs"]], any((folder / "checkpoints").glob("*"))
    fewer = same(before, wanted, "epochs", "evaluate") and before["epochs"] < wanted["epochs"]
    if fewer and "cosine" in wanted["train"]:  # the learning rate of every epoch would be another
        fewer = False
    if goes_on and (fewer or same(before, wanted, "evaluate")):
        said = command(BICODER, "train", "--resume", folder, *epochs, *data)
    else:
        arguments = [*wanted["train"], *epochs, *(pictures or ["--no_pictures"])]
        said = command(BICODER, "train", *arguments, "--run_dir", folder, *data, "--overwrite")
    seconds = re.search(r"([\d.]+) s each", said)
    return float(seconds[1]) if seconds else None


def parser_of(doc, data, name, epochs, samples):
    """The arguments of a script that trains and evaluates over seeds.

    Args:
        doc: its docstring.
        data: what data it needs.
        name: of the file of its results, and, with - for _, of the folder of its runs.
        epochs, samples: defaults.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, help=f"where the files of {data} are")
    parser.add_argument("--evaluate", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--again", action="store_true", help="evaluate what is evaluated too, for numbers that are new")
    parser.add_argument("--table", action="store_true", help="write the page from what was measured, and train nothing")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--samples", type=int, default=samples, help="of z for each test example")
    parser.add_argument("--work", type=Path, default=Path("runs") / name.replace("_", "-"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / f"{name}.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    return parser


def measure(args, key, wanted, folder, data_dir, pictures=()):
    """Whatever is not there yet of a training and its evaluation; each is kept at once.

    Args:
        args: `results`, the file that keeps them; whether to `evaluate`; and `again`, also what is evaluated.
        key: of the result.
        wanted: "train", the arguments, "epochs", and "evaluate", those of `evaluate`; what else decides the numbers.
        folder: of the run.
        data_dir: of the data.
        pictures: flags of `train`.
    """
    about = {"date": datetime.date.today().isoformat(), "machine": machine()}
    result = kept(args.results).get(key, {"settings": {}})
    before = result["settings"]
    if not same(before, wanted, "evaluate") or "seconds_of_epoch" not in result:
        keep(args.results, key, {"settings": wanted})
        seconds = train(folder, wanted, before, data_dir, pictures)
        result = {"settings": wanted, "seconds_of_epoch": seconds, **about}
        keep(args.results, key, result)
        print(f"{key}: {wanted['epochs']} epochs, {seconds} s each", flush=True)
    if args.evaluate and (args.again or "numbers" not in result or before != wanted):
        command(BICODER, "evaluate", folder, *wanted["evaluate"], "--data_dir", data_dir, "--json", "--overwrite")
        numbers = json.loads((folder / "evaluation.json").read_text())
        numbers.pop("kl_per_dimension", None)
        keep(args.results, key, {**result, "settings": wanted, "numbers": numbers, **about})
        print(f"{key}: -ELBO {-numbers['elbo']:.2f}, NLL {numbers['nll']:.2f}", flush=True)
