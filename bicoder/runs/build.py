"""The model and the optimizer of a run, made as its options say."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from bicoder.likelihoods import Likelihood
    from bicoder.networks import networks_in
    from bicoder.vae import VAE

    images = loader.training_images
    likelihood = with_defaults(Likelihood, options.likelihood, sigma=options.sigma)
    if options.binarize != "dynamic":
        likelihood.check(images, f"{options.dset}: training images")
        if loader.validation_images is not None:
            likelihood.check(loader.validation_images, f"{options.dset}: validation images")
    likelihood.check(loader.test_images, f"{options.dset}: test images")
    network = "auto" if options.network["name"] == "auto" else options.network
    with networks_in(options.precision):
        encoder = Encoder(network, latent_dim=options.latent_dim, posterior=options.posterior)
        decoder = Decoder(network, likelihood=likelihood)
    objective = make_objective(options, len(images))
    noise, seed = options.input_noise, options.seed
    vae = VAE(encoder, decoder, prior=options.prior, objective=objective, input_noise=noise, seed=seed)
    with networks_in(options.precision):
        vae.build((None, *images.shape[1:]))
    return vae


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
    for name in ("encoder", "decoder", "prior"):
        own, found = getattr(vae, name), getattr(other, name)
        expected, received = architecture(own.spec()), architecture(found.spec())
        if expected != received:
            raise ModelError(f"init: {Path(run)}: expected the {name} {expected}, received {received}")
        shapes, theirs = [v.shape for v in own.weights], [v.shape for v in found.weights]
        if shapes != theirs:
            raise ModelError(f"init: {Path(run)}: expected weights of the {name} {shapes}, received {theirs}")
        for variable, value in zip(own.weights, found.weights, strict=True):
            variable.assign(value)


def architecture(spec: Any) -> Any:
    """The config of a part without the numbers that its weights do not depend on."""
    left_out = ("seed", "sigma")
    return {k: architecture(v) for k, v in spec.items() if k not in left_out} if isinstance(spec, dict) else spec
