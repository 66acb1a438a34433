"""The model and the optimizer of a run, made as its options say."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bicoder.engine.arrays.masked import shape_of_example
from bicoder.engine.arrays.view_names import is_of_views
from bicoder.errors import ModelError, UsageError
from bicoder.runs.options.table import Settled

if TYPE_CHECKING:
    import keras

    from bicoder.component import Component
    from bicoder.data.loader import DataLoader
    from bicoder.objectives import Objective
    from bicoder.vae import VAE


def with_sigma(options: Settled, loader: "DataLoader") -> Settled:
    """The options with the sigma that the likelihood will have, if it has one.

    Raises:
        UsageError: sigma was given twice, or to a likelihood without one.
    """
    from bicoder.likelihoods import Likelihood

    if is_of_views(options.likelihood):
        if options.sigma is not None:
            raise UsageError(
                f"sigma: expected that of each view, as in --likelihood view=gaussian:sigma={options.sigma}, received "
                f"--sigma {options.sigma}; leave it out"
            )
        return options
    name, own = options.likelihood["name"], options.likelihood.get("sigma")
    takes = "sigma" in Likelihood.members()[name].arguments()
    if options.sigma is not None and not takes:
        raise UsageError(f"sigma: the {name} likelihood has none, received {options.sigma}; leave it out")
    if options.sigma is not None and own not in (None, options.sigma):
        raise UsageError(f"sigma: expected it once, received {options.sigma} and {own}; leave one out")
    if options.sigma is None and takes:
        return dataclasses.replace(options, sigma=loader.dataset.sigma if own is None else own)
    return options


def build_model(options: Settled, loader: "DataLoader") -> "VAE":
    """The `VAE` of the options, built for the loader's images, which are checked against its likelihood."""
    from bicoder.coders import Decoder, Encoder
    from bicoder.conditions import Condition
    from bicoder.engine.arrays.trees import batched
    from bicoder.likelihoods import Likelihood
    from bicoder.networks import networks_in
    from bicoder.per_view import for_views
    from bicoder.vae import VAE

    likelihood = for_views(
        lambda config: with_defaults(Likelihood, config, sigma=sigma_of(options, loader)), options.likelihood
    )
    check_images(options, loader, likelihood)
    network = for_views(lambda config: "auto" if config["name"] == "auto" else config, options.network)
    with networks_in(options.precision):
        encoder = Encoder(network, latent_dim=options.latent_dim, posterior=options.posterior, fusion=options.fusion)
        decoder = Decoder(network, likelihood=likelihood)
    vae = VAE(
        encoder,
        decoder,
        prior=options.prior,
        objective=make_objective(options, len(loader.training_files)),
        input_noise=options.input_noise,
        view_weights=options.view_weights,
        condition=options.condition and with_defaults(Condition, options.condition, classes=loader.classes),
        seed=options.seed,
    )
    with networks_in(options.precision):
        vae.build(batched(shape_of_example(loader.training_images)))
    return vae


def sigma_of(options: Settled, loader: "DataLoader") -> float | str | None:
    """The sigma of a view whose likelihood says none."""
    return loader.dataset.sigma if is_of_views(options.likelihood) else options.sigma


def check_images(options: Settled, loader: "DataLoader", likelihood: Any) -> None:
    """`DataError` if images are none that the likelihood, or that of their view, has a density of."""
    from bicoder.per_view import of_view

    found = {"training": loader.training_images, "validation": loader.validation_images, "test": loader.test_images}
    for purpose, images in found.items():
        if images is None:
            continue
        for view, one in (images if loader.views else {"": images}).items():
            if loader.binarize[view] == "dynamic" and purpose != "test":
                continue
            name = f"{options.dset}: {purpose} images" + (f" of {view}" if view else "")
            of_view("likelihood", likelihood, view).check(one, name)


def with_defaults(family: "type[Component]", config: dict[str, Any], **known: Any) -> Any:
    """A part of `family` from its config, with what is known for arguments that the part takes and has no value of."""
    member = family.members().get(config["name"])
    takes = member.arguments() if member else []
    return family.get({k: v for k, v in known.items() if k in takes and v is not None} | config)


def make_objective(options: Settled, count: int) -> "Objective":
    """The objective of the options for `count` training images; a schedule takes the first half of the training."""
    from bicoder.objectives import Objective

    steps = max(1, options.epochs * math.ceil(count / options.batch_size) // 2)
    return with_defaults(Objective, options.objective, data_size=count, steps=steps)


def make_optimizer(options: Settled, steps: int) -> "keras.optimizers.Optimizer":
    """The optimizer of the options, for epochs of `steps` steps."""
    import keras

    made = {name.lower(): found for name, found in vars(keras.optimizers).items()}[options.optimizer]
    more = {"weight_decay": options.weight_decay, "global_clipnorm": options.clip_norm}
    return made(learning_rate(options, steps), **{name: value for name, value in more.items() if value is not None})


def learning_rate(options: Settled, steps: int) -> Any:
    """The learning rate, or a schedule of Keras that the compiled program follows by the number of the step."""
    from keras.optimizers import schedules

    rate, warmup = options.learning_rate, round(options.learning_rate_warmup * steps)
    if options.learning_rate_schedule == "cosine":
        rest = max(1, options.epochs * steps - warmup)
        if warmup:
            return schedules.CosineDecay(0.0, rest, warmup_target=rate, warmup_steps=warmup)
        return schedules.CosineDecay(rate, rest)
    return schedules.PolynomialDecay(0.0, warmup, rate) if warmup else rate


def that_follow_epochs(options: Settled, objective: "Objective") -> list[str]:
    """Names of what a run does according to how many epochs it has in all."""
    found = ["learning rate"] if options.learning_rate_schedule == "cosine" else []
    moves = "steps" in objective.arguments() and getattr(objective, "schedule", "") != "constant"
    return [*found, "objective"] if moves and "steps" not in options.objective else found


def start_from(vae: "VAE", run: str) -> None:
    """Give a model the weights of another run; what its objective and its noise remember stays new.

    Raises:
        ModelError: the run has another architecture.
    """
    from bicoder.runs.load import load

    other = load(run)
    for name in ("encoder", "decoder", "prior", "condition"):
        own, found = getattr(vae, name), getattr(other, name)
        expected, received = (None if part is None else architecture(part.spec()) for part in (own, found))
        if expected != received:
            raise ModelError(f"init: {Path(run)}: expected the {name} {expected}, received {received}")
        if own is None:
            continue
        shapes, theirs = [v.shape for v in own.weights], [v.shape for v in found.weights]
        if shapes != theirs:
            raise ModelError(f"init: {Path(run)}: expected weights of the {name} {shapes}, received {theirs}")
        for variable, value in zip(own.weights, found.weights, strict=True):
            variable.assign(value)


def architecture(spec: Any) -> Any:
    """The config of a part without the numbers that its weights do not depend on."""
    left_out = ("seed", "sigma")
    return {k: architecture(v) for k, v in spec.items() if k not in left_out} if isinstance(spec, dict) else spec
