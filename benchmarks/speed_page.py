"""docs/performance.md and its picture, from what `speed.py` measured."""

import json
import statistics
import textwrap
from pathlib import Path
from typing import NamedTuple

from bicoder.errors import counted
from bicoder.pictures.drawing.plotting import COLOURS, new_figure, save

NAMES = {
    "ours": "bicoder, `VAE.fit`",
    "own_threads": "bicoder, `VAE.fit` with TensorFlow's own threads",
    "torch": "PyTorch, fused Adam",
    "torch_compile": "PyTorch, `torch.compile`, fused Adam",
    "jax": "JAX, one jitted `lax.scan`",
    "pythae": "pythae's trainer",
    "keras": "Keras, `fit` of a plain model",
    "straightforward": "TensorFlow, a `tf.function` per batch",
    "numpy_products": "products alone, NumPy",
    "tensorflow_products": "products alone, TensorFlow (oneDNN)",
    "xla_products": "products alone, XLA",
    "ours_half": "bicoder, half of the images, twice",
    "ours_stream": "bicoder, images in a file",
    "bfloat16": "bicoder, `mixed_bfloat16`",
    "ours_nll": "bicoder, `evaluate`",
    "torch_nll": "PyTorch, a plain loop",
    "ours_tsne": "bicoder, `tsne`",
    "plain_tsne": "scikit-learn, `TSNE`",
    "imports": "`import tensorflow, keras`",
    "import": "`import bicoder`",
    "help": "`train_vae.py --help`",
    "first": "mnist_color, start to first batch, from the disk",
    "later": "mnist_color, start to first batch, later runs",
    "reading": "mnist_color, reading the file once from the disk",
    "without_keras": "bicoder without Keras around the compiled program",
    "without_noise": "bicoder without drawing noise",
    "without_adam": "bicoder with gradient descent for Adam",
    "batches_only": "bicoder, gathering the batches alone",
}
RIVALS = ("torch", "torch_compile", "jax", "pythae", "keras", "straightforward")
SAME_BOUND = Path(__file__).resolve().parent / "results" / "same_bound.json"
VIEW = 60_000 * 28 * 28 * 3 * 4  # bytes of one view of mnist_color


class Comparison(NamedTuple):
    """A line of the table: a side of a row, and what it is compared with."""

    row: str
    title: str
    side: str
    others: tuple  # the fastest of these sides counts
    goal: float


COMPARISONS = [
    Comparison("mlp", "Epoch of the MLP, batch 128, against the fastest other", "ours", RIVALS, 0.9),
    Comparison("mlp", "the same, against its matrix products alone in NumPy", "ours", ("numpy_products",), 1.4),
    Comparison("mlp", "the same, against its matrix products alone in oneDNN", "ours", ("tensorflow_products",), 1.4),
    Comparison("conv", "Epoch of the convolutions, against the fastest other", "ours", RIVALS, 0.9),
    Comparison("conv", "the same, where TensorFlow was not told how many threads to use", "own_threads", RIVALS, 0.9),
    Comparison(
        "conv", "Epoch of the convolutions, against them and products alone", "ours", ("tensorflow_products",), 1.6
    ),
    Comparison("batch32", "Epoch of the MLP, batch 32", "ours", RIVALS, 1.05),
    Comparison("batch512", "Epoch of the MLP, batch 512", "ours", RIVALS, 1.05),
    Comparison("batch2048", "Epoch of the MLP, batch 2048", "ours", RIVALS, 1.05),
    Comparison("cores2", "Epoch of the MLP, batch 128, on two cores", "ours", RIVALS, 1.05),
    Comparison("first", "First epoch, with its compilation", "ours", ("torch_compile",), 0.3),
    Comparison("program", "Whole program: start, 20 epochs, picture", "ours", ("straightforward",), 0.4),
    Comparison("nll", "Likelihood by 5000 importance samples", "ours_nll", ("torch_nll",), 0.8),
    Comparison("tsne", "t-SNE", "ours_tsne", ("plain_tsne",), 1.05),
    Comparison("growth", "Twice the images, against twice the time", "ours", ("ours_half",), 1.05),
    Comparison("stream", "Epoch of the MLP with images in a file, against memory", "ours_stream", ("ours",), 1.3),
    Comparison("conv_stream", "the same of the convolutions", "ours_stream", ("ours",), 1.3),
    Comparison("color", "mnist_color, start to first batch, against reading the file", "first", ("reading",), 1.5),
]
# row, what it is, goal in seconds
LIMITS = [
    ("start", "import", 0.3),
    ("start", "help", 0.5),
    ("color", "later", 2.0),
]


def write(results, docs):
    """The page and its picture into the folder `docs`; prints the table."""
    picture = draw(results, docs / "images" / "performance.png")
    lines = introduction(results) + table(results) + list(picture) + profile(results)
    lines += paragraphs(results) + sides() + seconds_table(results)
    (docs / "performance.md").write_text("\n".join(lines) + "\n")
    print("\n".join([*machines(results), *table(results)]))


def medians(result):
    """Side -> median of its seconds."""
    return {side: statistics.median(values) for side, values in result["seconds"].items()}


def introduction(results):
    """What was measured, and where."""
    return [
        "# Performance",
        "",
        "How fast training is, beside what one would use instead: the same networks, loss, optimizer and images, written as",
        "each library's users would. `make bench` measures it and writes this page.",
        "",
        "All ratios of a line are from one run, in which each side is a process of its own that trains for one epoch in turn",
        "with the others; they are of medians, after a first epoch that does not count. Before anything is timed, all sides",
        "must find the same loss for the same weights, images and noise within 1e-4, and afterwards their losses must have",
        "fallen alike. Below 1 we are faster.",
        "",
        *machines(results),
    ]


def machines(results):
    """Where and when the results are from."""
    return ["Measured on " + "; and on ".join(sorted({describe(result) for result in results.values()})) + ".", ""]


def describe(result):
    """The machine of a result, and the day."""
    about = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"{about['processor']}, {counted(about['cores'], 'core')}, no GPU, {result['date']}: Python {about['python']}, {versions}"


def judged(ratio, goal):
    """The two last cells of a line."""
    return f"{goal:.2f} | {'reached' if ratio <= goal else '**not reached**'}"


def lines_of(results):
    """For every line of the table that was measured: title, what it is compared with, ratio, goal."""
    for row, title, side, others, goal in COMPARISONS:
        if row in results:
            if row == "program":
                title = title.replace("20", str(results[row]["epochs"]))
            if row in ("nll", "tsne"):
                title += f" of {results[row]['images']:,} {'points' if row == 'tsne' else 'images'}"
            found = medians(results[row])
            fastest = min((found[name], name) for name in others if name in found)
            yield title, NAMES[fastest[1]], found[side] / fastest[0], goal
    for row, side, goal in LIMITS:
        if row in results:
            yield NAMES[side], f"{goal:g} s", medians(results[row])[side] / goal, 1.0
    if "nll" in results:
        yield "Likelihood, memory of the whole process", "2 GB", results["nll"]["memory"]["ours_nll"] / 2e9, 1.0
    if "color" in results:
        ratio = (results["color"]["peak"] - results["color"]["idle"]) / VIEW
        yield "mnist_color, memory of training beyond an idle TensorFlow", f"the view, {VIEW / 1e6:.0f} MB", ratio, 1.3


def table(results):
    """Every ratio with its goal, and the goals that are not reached once more, in words."""
    found = list(lines_of(results))
    lines = ["| what | against | ratio | goal at most | |", "|---|---|---|---|---|"]
    lines += [f"| {title} | {other} | **{r:.2f}** | {judged(r, goal)} |" for title, other, r, goal in found]
    missed = [f"{title}: {r:.2f}, goal {goal:.2f} ({other})" for title, other, r, goal in found if r > goal]
    lines += ["", "Goals that are not reached:" if missed else "All goals are reached.", ""]
    notes = [f"- {line}" for line in missed] + ([""] if missed else [])
    left_out = sorted({row for row, *_ in COMPARISONS} - set(results))
    if left_out:
        notes += [f"Not measured: {', '.join(left_out)}.", ""]
    if shortened := results.get("conv", {}).get("shortened"):
        names = ", ".join(f"{NAMES[name]} by {count} images" for name, count in shortened.items())
        notes += [f"The convolutions learn from {results['conv']['images']:,} images of 28x28x3; {names}, scaled.", ""]
    notes += [
        line for result in results.values() if "note" in result for line in (*textwrap.wrap(result["note"], 120), "")
    ]
    return lines + notes


def colour(side):
    """The colour of a bar: blue for ours, light grey for products alone, grey for the others."""
    if side in ("ours", "own_threads"):
        return COLOURS[0]
    return "#c4c4c4" if side.endswith("_products") else "#8a8a8a"


def draw(results, path):
    """Horizontal bars, seconds for 60,000 images; yields what the page says about them."""
    panels = [("mlp", "MLP 784-400-20-400-784, batch 128"), ("conv", "Convolutions, 28x28x3, batch 128")]
    panels = [(row, title) for row, title in panels if row in results]
    if not panels:
        return
    counts = [len(results[row]["seconds"]) for row, _ in panels]
    figure = new_figure(9.0, 0.9 + 0.36 * sum(counts) + 0.5 * len(panels))
    grid = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": counts})[:, 0]
    for axes, (row, title) in zip(grid, panels, strict=True):
        result = results[row]
        seconds = {name: s * 60_000 / result["images"] for name, s in medians(result).items()}
        order = sorted(seconds, key=seconds.get, reverse=True)
        # A bar many times as long as the others would hide what they are about.
        limit = min(max(seconds.values()), 4.0 * statistics.median(seconds.values()))
        for place, name in enumerate(order):
            axes.barh(place, min(seconds[name], limit), color=colour(name))
            text = f" {seconds[name]:.2f}" + (" (bar cut off)" if seconds[name] > limit else "")
            axes.text(min(seconds[name], limit), place, text, va="center", weight="bold" if name == "ours" else None)
        axes.set_yticks(range(len(order)), [NAMES[name].replace("`", "") for name in order])
        for label, name in zip(axes.get_yticklabels(), order, strict=True):
            label.set_weight("bold" if name == "ours" else "normal")
        axes.set_xlim(0, (1.15 if limit == max(seconds.values()) else 1.4) * limit)
        axes.set_title(title, loc="left", fontsize=11)
        axes.spines[["top", "right"]].set_visible(False)
    about = results[panels[0][0]]["machine"]
    date = results[panels[0][0]]["date"]
    grid[-1].set_xlabel(
        f"seconds for 60,000 images ({about['processor']}, {counted(about['cores'], 'core')}, {date}); less is better"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path)
    yield f"![Seconds for 60,000 images, ours and others](images/{path.name})"
    yield "\nOurs in blue, others in grey, in light grey products alone, which train nothing.\n"


def profile(results):
    """Where the time of an epoch goes, from epochs without one part."""
    if not {"profile", "conv_profile"} & set(results):
        return []
    lines = [
        "## Where the rest of the time goes",
        "",
        "Each piece is left out in turn, in one run; what an epoch gets shorter by is its share. The pieces overlap on several",
        "cores, so they need not add up, and a share near zero may come out below it. Convolutions alone take longer than the",
        "epoch: one after the other, each with all cores. Rows were measured at different hours, so their seconds do not",
        "compare with each other.",
        "",
        "| piece | MLP | convolutions |",
        "|---|---|---|",
    ]
    parts = {
        "drawing the noise": lambda s: s["ours"] - s["without_noise"],
        "Adam, beyond plain gradient descent": lambda s: s["ours"] - s["without_adam"],
        "Keras around the compiled program": lambda s: s["ours"] - s["without_keras"],
        "gathering the batches": lambda s: s["batches_only"],
    }
    columns = [(row, result) for row, result in (("profile", "mlp"), ("conv_profile", "conv"))]
    for title, part in parts.items():
        lines.append(f"| {title} | " + " | ".join(share(results, row, part) for row, _ in columns) + " |")
    products = [products_share(results, row) for _, row in columns]
    lines.append(f"| matrix products and convolutions alone | {' | '.join(products)} |")
    return [
        *lines,
        "",
        "What is left was not measured apart: biases, ReLU, the loss and its gradient, each of which goes once through the",
        "activations of the batch, gradient descent itself, and the metrics.",
        "",
    ]


def whole_program(results):
    """What the whole program spends its time on."""
    found, epochs = medians(results["program"]), results["program"]["epochs"]
    line = f"Of the {found['ours']:.1f} s of the whole program, {found['imports']:.1f} s are what importing TensorFlow and Keras takes"
    if "mlp" in results:
        seconds = medians(results["mlp"])
        line += (
            f", and its {epochs} epochs at the rate above are {epochs * seconds['ours']:.1f} s, of which the products"
            f" alone take {epochs * fastest_products(seconds):.1f} s"
        )
    return line + "."


def half_precision(results):
    """What bfloat16 does to an epoch and to the loss."""
    found, losses = medians(results["bfloat16"]), results["bfloat16"]["losses"]
    return (
        f'With `keras.config.set_dtype_policy("mixed_bfloat16")` an epoch of the MLP takes '
        f"{found['bfloat16'] / found['ours']:.2f} times as long, and the loss ends at {losses['bfloat16']:.2f} for "
        f"{losses['ours']:.2f}: so it stays off."
    )


def same_bound():
    """Whether the training comes to the same."""
    result = json.loads(SAME_BOUND.read_text())
    fast, plain = (
        f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" for values in result["bounds"].values()
    )
    return (
        f"The way in which `VAE.fit` runs does not change what comes out: -ELBO of the test images of mnist_bw after "
        f"{result['epochs']} epochs, {len(result['bounds']['VAE'])} seeds, is {fast}, and {plain} in Keras' own loop "
        f"without XLA (`python benchmarks/same_bound.py`, {result['date']})."
    )


def paragraphs(results):
    """What else was found, as far as it was measured."""
    found = [whole_program(results)] if "program" in results else []
    found += [half_precision(results)] if "bfloat16" in results else []
    found += [same_bound()] if SAME_BOUND.exists() else []
    return [line for paragraph in found for line in (*textwrap.wrap(paragraph, 120), "")]


def share(results, row, part):
    """A part of the epoch, in percent."""
    if row not in results:
        return "not measured"
    found = medians(results[row])
    return f"{100 * part(found) / found['ours']:.0f} %"


def products_share(results, row):
    """Products alone, in the fastest library, of the epoch."""
    if row not in results:
        return "not measured"
    found = medians(results[row])
    return f"{100 * fastest_products(found) / found['ours']:.0f} %"


def fastest_products(found):
    """Seconds of products alone, in the fastest library."""
    return min(seconds for name, seconds in found.items() if name.endswith("_products"))


def sides():
    """How each side is written."""
    return [
        "## The sides",
        "",
        "- bicoder: `VAE.fit` on the loader's data. Of all sides it alone logs bound, distortion and rate for every batch.",
        "  Convolutions learn from as many slices of a batch at the same time as there are cores, each operation with one",
        "  thread, as `train_vae.py` sets it; in Python code `tf.config.threading.set_intra_op_parallelism_threads(1)`, before",
        "  anything else, does it. Without that line there are three slices at most, fewer than cores, and operations have the",
        "  threads of all cores.",
        "- PyTorch: images and weights in memory, an order by `randperm`, eager, with the fused Adam; once more with forward",
        "  and backward pass by `torch.compile`.",
        "- JAX: one jitted program for the epoch, `lax.scan` over its batches, Adam written out. Its convolutions are slow on",
        "  a CPU, so it learns from a part of the images, and its time is scaled.",
        "- pythae: its own model and `BaseTrainer`, given the same networks and the density of sigma 0.75, which it has not.",
        "- Keras: a `keras.Model` with a `train_step`, `fit` from a shuffled `tf.data`; with XLA, as Keras chooses by itself,",
        "  but for convolutions, which XLA makes slow on a CPU.",
        "- TensorFlow: a `tf.function` called for every batch of the same pipeline.",
        "- products alone: forward, and the gradients of weights and inputs, on batches that are never changed; each",
        "  operation with the threads of all cores, and one after the other, but side by side in the program of XLA.",
        "",
        "The memory of importance sampling is that of the whole process, TensorFlow with it. Of the whole programs, ours",
        "looks at the test images after every epoch too, and writes a whole run folder. Compilation is measured in fresh",
        "processes with an empty cache of `torch.compile`. Nothing was measured on a GPU.",
        "",
    ]


def seconds_table(results):
    """Medians of everything, for this machine only."""
    lines = ["## Seconds", "", "Of the machine above; medians, and the range of all that were timed.", ""]
    lines += ["| row | images | what | median | range |", "|---|---|---|---|---|"]
    for row, result in results.items():
        images = f"{result['images']:,}" if "images" in result else ""
        for side, values in result["seconds"].items():
            middle = statistics.median(values)
            name = NAMES[side] if row != "program" or side != "ours" else "`train_vae.py`"
            lines.append(f"| {row} | {images} | {name} | {middle:.3f} | {min(values):.3f} to {max(values):.3f} |")
    return lines
