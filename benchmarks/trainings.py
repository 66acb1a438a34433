"""What the scripts share that train by the commands, keep what they measured, and write it into pages."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

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
