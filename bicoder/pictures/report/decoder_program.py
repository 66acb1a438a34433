"""The model's decoder as a program of plain operations, which decoder.js runs in the page."""

from typing import Any, NamedTuple

import numpy as np

from bicoder.bi_coder import channels_beside
from bicoder.coders import Decoder
from bicoder.engine.tensor import Shape
from bicoder.likelihoods import (
    BernoulliLikelihood,
    CategoricalLikelihood,
    ContinuousBernoulliLikelihood,
    DiscretizedLogisticLikelihood,
    GaussianLikelihood,
    LaplaceLikelihood,
    Likelihood,
    OptimalGaussianLikelihood,
    PerPixelGaussianLikelihood,
)
from bicoder.networks import ResidualDecoder
from bicoder.pictures.report.known_layers import NotKnownError, Value, Writer, write_network

# Of all views together.
MOST_WEIGHTS = 3_000_000  # 16 MB of the page
MOST_WORK = 100_000_000  # multiplications for an image, some 60 ms: more, and pictures lag behind a hand


class Program(NamedTuple):
    """A decoder as operations.

    Args:
        inputs: numbers of a code, with what stands beside it.
        operations: one after the other, as decoder.js takes them.
        output: the number of the one that gives the mean of p(x|z), from 1; 0 is the code.
        weights: float32, in the order in which the operations name them.
        work: multiplications for one image.
    """

    inputs: int
    operations: list[dict[str, Any]]
    output: int
    weights: np.ndarray
    work: int

    def for_page(self, first: int) -> dict[str, Any]:
        """What decoder.js takes, if the weights stand at `first` among those of all views."""
        return {"inputs": self.inputs, "operations": self.operations, "output": self.output, "first": first}


class Answer(NamedTuple):
    """Whether the page can decode a view.

    Args:
        program: `Program`, or None if it cannot.
        why: why not; or what is to be said of the program; "" if there is nothing.
    """

    program: Program | None
    why: str


# Likelihood -> operation from the network's output to the mean of p(x|z), with its facts; None for the output itself.
# Each is what the mean of the distribution is that `call` returns.
MEANS: dict[type[Likelihood], dict[str, Any] | None] = {
    GaussianLikelihood: None,
    LaplaceLikelihood: None,
    OptimalGaussianLikelihood: None,
    PerPixelGaussianLikelihood: {"kind": "first_half"},
    BernoulliLikelihood: {"kind": "activation", "name": "sigmoid"},
    CategoricalLikelihood: {"kind": "softmax"},
    ContinuousBernoulliLikelihood: {"kind": "activation", "name": "continuous_bernoulli"},
    DiscretizedLogisticLikelihood: {"kind": "discretized_logistic"},
}


def write_mean(likelihood: Likelihood, writer: Writer, raw: Value, shape: Shape) -> Value:
    """The mean of p(x|z), found by the base class that a likelihood has its `call` of, or `NotKnownError`."""
    for base in type(likelihood).__mro__:
        if base in MEANS and base.call is type(likelihood).call:
            facts = MEANS[base]
            return raw if facts is None else writer.write(inputs=raw, shape=shape, **facts)
    raise NotKnownError(f"the mean of the likelihood {likelihood.part_name()} is not known to the page")


def decoder_program(decoder: Decoder, view: str = "") -> Answer:
    """The program of a built decoder; of several views, that of one of them."""
    try:
        if type(decoder) is not Decoder:
            raise NotKnownError(f"the decoder {type(decoder).__name__} is not known to the page")
        return written(decoder.views[view] if decoder.views else decoder)
    except NotKnownError as reason:
        return refused(reason)


def refused(reason: NotKnownError) -> Answer:
    return Answer(None, f"the page cannot decode: {reason}")


def written(decoder: Decoder) -> Answer:
    """The program of a decoder of one tensor, or `NotKnownError`."""
    check_size(weights=decoder.body.count_params())
    code = tuple(decoder.example_shape)
    inputs = code[0] + (0 if decoder.told is None else channels_beside(code, decoder.told_shape))
    writer, body = Writer(inputs), decoder.body
    body = body.model if type(body) is ResidualDecoder else body
    raw = write_network(body, writer, [writer.code])
    mean = write_mean(decoder.likelihood, writer, raw, tuple(decoder.output_shape))
    check_size(work=writer.work)
    weights = np.concatenate([np.zeros(0, "float32"), *writer.arrays])
    return Answer(Program(inputs, writer.operations, mean.number, weights, writer.work), precision(writer.precisions))


def precision(computed_in: set[str]) -> str:
    """What there is to say of a model that computes in another precision than the page."""
    half = sorted({"bfloat16", "float16"} & computed_in)
    if not half:
        return ""
    return f"about what the model gives: it computes in {half[0]}, and the page in float32, which is more exact"


def check_size(weights: int = 0, work: int = 0, whose: str = "") -> None:
    """`NotKnownError` of a decoder that is too large to be in a page, or too slow to follow a hand."""
    if weights > MOST_WEIGHTS:
        raise NotKnownError(f"{whose}it has {weights:,} weights, and a page holds at most {MOST_WEIGHTS:,}")
    if work > MOST_WORK:
        million = f"{work / 1e6:,.0f} million multiplications, and {MOST_WORK / 1e6:,.0f} million are quick enough"
        raise NotKnownError(f"{whose}an image takes {million}")


def decoder_programs(decoder: Decoder) -> dict[str, Answer]:
    """view -> its program, "" for a decoder of one tensor. Those that come first may leave no room for others."""
    answers: dict[str, Answer] = {}
    for view in decoder.views or [""]:
        answer = decoder_program(decoder, view)
        together = [found.program for found in (*answers.values(), answer) if found.program]
        try:
            weights, work = sum(len(one.weights) for one in together), sum(one.work for one in together)
            check_size(weights, work, "with the views before it, ")
        except NotKnownError as reason:
            answer = refused(reason)
        answers[view] = answer
    return answers


def for_page(answers: dict[str, Answer]) -> tuple[dict[str, Any], np.ndarray]:
    """view -> its program as decoder.js takes it, or None; and the weights of all, float32, one after the other."""
    programs: dict[str, Any] = {}
    weights = [np.zeros(0, "float32")]
    for view, (program, _) in answers.items():
        programs[view] = None if program is None else program.for_page(sum(map(len, weights)))
        weights += [] if program is None else [program.weights]
    return programs, np.concatenate(weights)
