"""What `bicoder evaluate` and `bicoder generate` do with a run folder."""

import argparse
import json
from pathlib import Path

from bicoder import runs
from bicoder.errors import UsageError
from bicoder.training import import_keras, load_data

EVALUATION = "evaluation.json"


def evaluate_run(args):
    """Print the numbers of a run's model on its test images; write evaluation.json and kl.png into its folder."""
    config = runs.read_config(args.run)
    arguments = argparse.Namespace(**config["arguments"])
    arguments.data_dir = args.data_dir or arguments.data_dir
    loader = load_data(arguments)
    import_keras()
    from bicoder import plotting
    from bicoder.evaluation import evaluate, table

    numbers = evaluate(runs.load(args.run), loader, args.num_samples, args.seed, progress=True)
    text = json.dumps(numbers, indent=2)
    written = [Path(args.run) / EVALUATION]
    written[0].write_text(text + "\n", encoding="utf-8")
    if numbers["kl_per_dimension"] is not None:
        units = f"{numbers['active_units']} of {numbers['latent_dim']} units active"
        title = f"{units}, rate {numbers['rate']:.2f} nats per image"
        written.append(plotting.bars(numbers["kl_per_dimension"], Path(args.run) / "kl.png", title))
    print(text if args.json else table(numbers) + "\n\n" + "\n".join(map(str, written)))


def generate_from_run(args):
    """Write images from the prior of a run's model: a grid as a picture, or an array."""
    output = Path(args.output or Path(args.run) / "generated.png")
    if output.suffix not in (".png", ".npy"):
        raise UsageError(f"output: expected a file that ends with .png or .npy, received {str(output)!r}")
    config = runs.read_config(args.run)
    if not output.parent.is_dir():
        raise UsageError(f"output: expected a file in a folder that exists, received {str(output)!r}")
    import_keras()
    import numpy as np

    from bicoder import plotting

    images = np.asarray(runs.load(args.run).generate(args.num_images, seed=args.seed))
    if output.suffix == ".npy":
        np.save(output, images)
    else:
        title = f"{args.num_images:,} images from the prior, mean of p(x|z) for z ~ p(z)"
        plotting.image_grid(images, output, title, config["data"].get("image_shape"))
    print(output)
