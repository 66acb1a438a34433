"""What of a model is exported: its encoder, its decoder, both together, and a score, as functions of tensors alone."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from bicoder import __version__
from bicoder.conditions import Labels, Vector
from bicoder.distributions import LOG_2PI, Distribution, FullGaussian, Gaussian
from bicoder.engine.arrays.conditioned import conditioned
from bicoder.engine.programs.fixed import layers_of
from bicoder.engine.tensor import Tensor
from bicoder.errors import UsageError
from bicoder.exports.function import WHATS, Function, Port
from bicoder.returned import name_of

EXAMPLES = 8  # by which a file is compared with the model
CONDITION = "condition"
MEANINGS = {
    "encoder": "the parameters of q(z|x)",
    "decoder": "the mean of p(x|z)",
    "reconstruct": "the mean of p(x|z) at z, the mean of q(z|x)",
    "score": "log q(z|x) - log p(z) - log p(x|z) at one point, z the mean of q(z|x), in nats",
}


class Asked(NamedTuple):
    """A model, and which of its examples a function is told.

    Args:
        vae: the model.
        views: view -> name of its input; of one tensor "" -> "x".
    """

    vae: Any
    views: dict[str, str]

    def x(self, inputs: dict[str, Tensor]) -> Any:
        """Examples of all inputs."""
        return inputs["x"] if "" in self.views else {view: inputs[name] for view, name in self.views.items()}

    def q(self, inputs: dict[str, Tensor]) -> Any:
        """q(z|x)."""
        encoder = self.vae.encoder
        with keras.name_scope("encoder"):
            raw = encoder.raw(conditioned(self.x(inputs), inputs.get(CONDITION)))
        with keras.name_scope("posterior"):
            return encoder.from_raw(raw)

    def p(self, z: Tensor, inputs: dict[str, Tensor]) -> Any:
        """p(x|z)."""
        decoder = self.vae.decoder
        with keras.name_scope("decoder"):
            raw = decoder.raw(conditioned(z, inputs.get(CONDITION)))
        with keras.name_scope("likelihood"):
            return decoder.from_raw(raw)

    def image(self, z: Tensor, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """The mean of p(x|z), or of that of each view."""
        mean = self.p(z, inputs).mean
        return {f"mean_{plain_name(view)}": one for view, one in mean.items()} if type(mean) is dict else {"mean": mean}


def exported(vae: Any, what: str, given: Sequence[str] | None = None) -> Function:
    """A part of a built `VAE` as a function that can be written in a format of others.

    Args:
        vae: the model.
        what: "encoder" for the parameters of q(z|x), "decoder" for the mean of p(x|z), "reconstruct" for that at the
            mean of q(z|x), "score" for minus the log weight of that one point.
        given: of several views, those that it is told; None for all.
    Raises:
        UsageError: there is no such part, or the model is none that can be written.
    """
    if what not in WHATS:
        raise UsageError(f"what: expected {', '.join(WHATS)}, received {what!r}")
    check_float32(vae)
    if what == "decoder" and given:
        raise UsageError("given: expected it with encoder, reconstruct or score, since the decoder takes codes")
    asked = Asked(vae, view_names(vae, given))
    codes = [Port("z", (vae.latent_dim,), "a code")]
    inputs = [*(codes if what == "decoder" else images(asked)), *told(vae)]
    names = [port.name for port in inputs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"export: expected inputs of different names, received {twice[0]!r} twice; rename the views")

    def call(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return FUNCTIONS[what](asked, inputs)

    found = examples(asked)
    some = {name: found[name] for name in names}
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in call(some).items()}
    outputs = [Port(name, shape, meaning_of(what, name)) for name, shape in shapes.items()]
    return Function(call, tuple(inputs), tuple(outputs), some, about(vae, what))


def check_float32(vae: Any) -> None:
    """`UsageError` if a network computes in half precision."""
    for coder in (vae.encoder, vae.decoder):
        for layer in layers_of(coder):
            if layer.compute_dtype != "float32":
                raise UsageError(
                    f"export: expected networks of float32, received some of {layer.compute_dtype}; give their weights "
                    "to a model of float32, as bicoder.load(run) makes it of every run"
                )


def plain_name(view: str) -> str:
    """The name of a view in letters, digits and underscores, as all formats take it."""
    name = re.sub(r"\W", "_", view, flags=re.ASCII)
    return name if name[0].isalpha() else f"view_{name}"


def view_names(vae: Any, given: Sequence[str] | None) -> dict[str, str]:
    """view -> name of its input, of the views that are given; see `Asked`."""
    shapes = vae.example_shape
    if not isinstance(shapes, dict):
        if given:
            raise UsageError(f"given: expected none, since the model has no views, received {', '.join(given)}")
        return {"": "x"}
    if given is not None and (not given or not set(given) <= set(shapes)):
        raise UsageError(f"given: expected views of the model, {', '.join(shapes)}, received {', '.join(given)}")
    return {view: plain_name(view) for view in shapes if given is None or view in given}


def images(asked: Asked) -> list[Port]:
    """The inputs that are examples."""
    shapes = asked.vae.example_shape
    if "" in asked.views:
        return [Port("x", shapes, "an example, pixels in [0, 1]")]
    return [Port(name, shapes[view], f"the view {view}, pixels in [0, 1]") for view, name in asked.views.items()]


def told(vae: Any) -> list[Port]:
    """The input that is a condition, if the model has one."""
    condition = vae.condition
    if condition is None:
        return []
    if isinstance(condition, Labels):
        return [Port(CONDITION, (), f"a label, 0 to {condition.known_classes - 1}", "int32")]
    if isinstance(condition, Vector):
        return [Port(CONDITION, condition.shape or (), "what is given, y")]
    raise UsageError(f"export: expected labels, embedding or vector as the condition, received {name_of(condition)}")


def examples(asked: Asked) -> dict[str, np.ndarray]:
    """Inputs of all names: codes and conditions, and as examples noise and what the decoder makes of codes."""
    vae, rng = asked.vae, np.random.default_rng(0)
    found: dict[str, Any] = {"z": rng.normal(size=(EXAMPLES, vae.latent_dim)).astype("float32")}
    for port in told(vae):
        numbers = np.arange(EXAMPLES) % vae.condition.known_classes if port.type == "int32" else None
        y = rng.normal(size=(EXAMPLES, *port.shape)) if numbers is None else numbers
        found[CONDITION] = y.astype(port.type)
    mean = asked.p(found["z"], found).mean
    for view, name in asked.views.items():
        image = ops.convert_to_numpy(mean[view] if view else mean).clip(0.0, 1.0)
        noise = rng.random((EXAMPLES // 2, *image.shape[1:])).astype("float32")
        found[name] = np.concatenate([noise, image[len(noise) :]])
    return found


def encoder(asked: Asked, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of q(z|x)."""
    return parameters(asked.q(inputs))


def parameters(q: Distribution) -> dict[str, Tensor]:
    """The mean, and what there is besides: log(sigma) of a Gaussian, L of a full one."""
    found = {"mean": q.mean}
    if isinstance(q, Gaussian):
        found["log_sigma"] = q.log_scale + ops.zeros_like(q.mean)
    elif isinstance(q, FullGaussian):
        found["scale_tril"] = q.scale_tril
    return found


def decoder(asked: Asked, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of p(x|z)."""
    return asked.image(inputs["z"], inputs)


def reconstruct(asked: Asked, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of p(x|z) at the mean of q(z|x)."""
    return asked.image(asked.q(inputs).mean, inputs)


def score(asked: Asked, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Minus log p(x, z) / q(z|x) at z = mean of q(z|x), and its two terms, (batch,), in nats."""
    q = asked.q(inputs)
    z = q.mean
    with keras.name_scope("posterior"):
        log_q = log_q_at_mean(q, z)
    with keras.name_scope("prior"):
        rate = log_q - asked.vae.prior_given(inputs.get(CONDITION)).log_prob(z)
    p = asked.p(z, inputs)
    with keras.name_scope("likelihood"):
        distortion = -p.log_prob(asked.x(inputs))
    return {"score_at_mean": distortion + rate, "distortion_at_mean": distortion, "rate_at_mean": rate}


def log_q_at_mean(q: Distribution, z: Tensor) -> Tensor:
    """log q(z|x) at its mean z, (batch,); of a full Gaussian without a triangle to solve, which no format can."""
    if isinstance(q, FullGaussian):
        return -0.5 * z.shape[-1] * LOG_2PI - ops.sum(q.log_diagonal(), axis=-1)
    return q.log_prob(z)


FUNCTIONS: dict[str, Callable[[Asked, dict[str, Tensor]], dict[str, Tensor]]] = {
    function.__name__: function for function in (encoder, decoder, reconstruct, score)
}


def meaning_of(what: str, output: str) -> str:
    """What an output is, in words."""
    known = {
        "log_sigma": "the logarithm of the standard deviation of q(z|x)",
        "scale_tril": "L of q(z|x) = N(mean, L L^T)",
        "score_at_mean": MEANINGS["score"],
        "distortion_at_mean": "-log p(x|z) at that point, in nats",
        "rate_at_mean": "log q(z|x) - log p(z) at that point, in nats",
    }
    if output in known:
        return known[output]
    return "the mean of q(z|x)" if what == "encoder" else MEANINGS[what]


def about(vae: Any, what: str) -> dict[str, Any]:
    """What a file says of the model."""
    likelihoods = {view: described(one) for view, one in vae.decoder.likelihoods.items()}
    several = isinstance(vae.example_shape, dict)
    found = {
        "bicoder": __version__,
        "what": what,
        "meaning": MEANINGS[what],
        "latent_dim": vae.latent_dim,
        "example_shape": vae.example_shape,
        "channels": "last",
        "posterior": vae.encoder.posterior.spec(),
        "prior": vae.prior.spec(),
        "likelihood": likelihoods if several else likelihoods["x"],
        "condition": None if vae.condition is None else vae.condition.spec(),
    }
    return found | ({"fusion": vae.encoder.fusion.spec()} if several else {})


def described(likelihood: Any) -> dict[str, Any]:
    """The config of a likelihood, with the number that sigma is, if it is one for all pixels."""
    known = {"sigma": float(ops.exp(likelihood.log_sigma()))} if hasattr(likelihood, "log_sigma") else {}
    return likelihood.spec() | known
