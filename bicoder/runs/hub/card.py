"""The card of a model: what it is, what it is worth, and how to load it, for people and for hubs."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bicoder import __version__
from bicoder.errors import counted, decodable
from bicoder.files.markdown import escaped_markdown
from bicoder.runs.options.command_line import command_line
from bicoder.runs.options.table import Options
from bicoder.runs.shown import title_of

if TYPE_CHECKING:
    from bicoder.vae import VAE

# Of evaluation.json: what each number is called, and how many digits it has.
BOUNDS = {"elbo": "-ELBO", "distortion": "distortion, -E[log p(x|z)]", "rate": "rate, KL[q(z|x) || p(z)]"}
OTHERS = {
    "bits_per_dim": "bits per dimension",
    "active_units": "active units",
    "mean_squared_error": "mean squared error of reconstructions",
    "knn_accuracy": "10-NN accuracy of the labels",
    "logistic_accuracy": "logistic accuracy of the labels",
}
COUNTS = {"images": "test images", "num_samples": "importance samples of each"}


def card(config: Mapping[str, Any], vae: "VAE", numbers: Mapping[str, Any] | None, pictures: Mapping[str, str]) -> str:
    """README.md of a model, with YAML in front.

    Args:
        config: of the run, as everybody may see it.
        vae: its model.
        numbers: of evaluation.json, or None.
        pictures: relative path of each picture -> what it shows.
    """
    name = one_line(title_of(config["arguments"])) or "images"
    parts = [
        front_matter(name, config, numbers),
        f"# A variational autoencoder of {escaped_markdown(name)}",
        about(config, vae),
        f"## Load it\n\n{loading(vae)}",
        f"## Numbers\n\n{worth(numbers)}",
    ]
    if pictures:
        said = {path: escaped_markdown(what) for path, what in pictures.items()}
        shown = [f"![{what}]({path})\n\n{what}" for path, what in said.items()]
        parts.append("## Pictures\n\n" + "\n\n".join(shown))
    settings = [
        f"| `{key}` | {escaped_markdown(one_line(json.dumps(config['arguments'][key], ensure_ascii=False)))} |"
        for key, entry in Options.table().items()
        if not entry.resume and config["arguments"].get(key) not in (None, False)
    ]
    parts.append("## How it was trained\n\n" + fenced(one_line(command_line(config["arguments"])), "sh"))
    parts.append("\n".join(["| option | value |", "|---|---|", *settings]))
    parts.append(
        "## Licence\n\nNone is stated here. Whoever publishes this model chooses one, also with regard to the images "
        "that it was trained on, and says it as `license:` at the top of this file."
    )
    return "\n\n".join(parts) + "\n"


def front_matter(name: str, config: Mapping[str, Any], numbers: Mapping[str, Any] | None) -> str:
    """What hubs read: YAML whose texts and lists are JSON, which is YAML too."""
    metrics = [
        {"type": key, "name": f"{said}, nats", "value": round(float(numbers[key]), 4)}
        for key, said in (("nll", "-log p(x)"), ("elbo", "bound"))
        if numbers and is_number(numbers.get(key))
    ]
    lines = {
        "library_name": "bicoder",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["bicoder", "keras", "vae", "variational-autoencoder"],
    }
    task = {"type": "unconditional-image-generation"}
    result = {"task": task, "dataset": {"name": name, "type": name}, "metrics": metrics}
    more = {"model-index": [{"name": f"VAE of {name}", "results": [result]}]} if metrics else {}
    text = [f"{key}: {one_line(json.dumps(value, ensure_ascii=False))}" for key, value in (lines | more).items()]
    return "\n".join(["---", *text, "---"])


def about(config: Mapping[str, Any], vae: "VAE") -> str:
    """What the model is."""
    model, data = config["model"], config["data"]
    encoder, decoder = model["encoder"], model["decoder"]
    kinds = {
        "q(z\\|x)": encoder.get("posterior"),
        "p(x\\|z)": decoder.get("likelihood"),
        "p(z)": model["prior"],
        "objective": model["objective"],
        "network": encoder.get("network"),
        "condition": model.get("condition"),
    }
    rows = [f"| {key} | {escaped_markdown(one_line(json.dumps(kind)))} |" for key, kind in kinds.items() if kind]
    images = counted(data["training_images"], "training image") if "training_images" in data else "images"
    shape = json.dumps(config["input_shape"], ensure_ascii=False)
    return (
        f"It was trained by bicoder {escaped_markdown(one_line(config['versions'].get('bicoder', '')))} on "
        f"{images}. An example has the shape {escaped_markdown(one_line(shape))}, pixels are in \\[0, 1\\], and the "
        f"code z has {counted(vae.latent_dim, 'dimension')}.\n\n" + "\n".join(["| part | |", "|---|---|", *rows])
    )


def loading(vae: "VAE") -> str:
    """How to load and use it."""
    more = "images = vae.generate(10)\n" if vae.condition is None else ""
    code = 'import bicoder\n\nvae = bicoder.load(".")  # the folder with this file\n' + more
    code += "codes = vae.encode(x).mean  # of images x, (N, ...) of the shape above"
    return (
        f"{fenced(code, 'python')}\n\n"
        "Nothing that is loaded is code: the weights are safetensors, and config.json holds names and numbers. It was "
        f"written by bicoder {__version__}. `bicoder generate .`, and the other commands that need no images of the "
        "training, take the folder as it is."
    )


def worth(numbers: Mapping[str, Any] | None) -> str:
    """The numbers with their errors, or how to find them out."""
    if not numbers or not is_number(numbers.get("nll")):
        return "It was not evaluated. `bicoder evaluate RUN`, and then `bicoder export` anew, put its numbers here."
    error, noise = numbers.get("nll_standard_error"), numbers.get("nll_monte_carlo_error")
    spread = f" ± {error:.2f}" if is_number(error) else ""
    rows = [f"| -log p(x), by importance samples | {numbers['nll']:.2f}{spread} |"]
    for key, said in BOUNDS.items():
        if is_number(numbers.get(key)):
            rows.append(f"| {escaped_markdown(said)} | {-numbers[key] if key == 'elbo' else numbers[key]:.2f} |")
    for key, said in OTHERS.items():
        if is_number(numbers.get(key)):
            rows.append(f"| {said} | {numbers[key]:.4g} |")
    what = "±: the standard error of the mean over the test images" if spread else ""
    what += f"; that of the sampling alone is {noise:.4f}" if spread and is_number(noise) else ""
    counts = [f"{numbers[key]:,} {said}" for key, said in COUNTS.items() if is_number(numbers.get(key))]
    said = ". ".join(part for part in (", ".join(counts), what) if part)
    return "\n".join(["| | nats per image, if no other unit is named |", "|---|--:|", *rows, "", f"{said}."])


def is_number(value: Any) -> bool:
    """Whether this is a finite number; a run may come from anyone."""
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 2**53)


def one_line(text: Any) -> str:
    """A text without what ends a line or cannot be printed."""
    return "".join(letter if letter.isprintable() else " " for letter in decodable(text))[:2000]


def fenced(text: str, language: str) -> str:
    """A block of code, whose fence is longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
