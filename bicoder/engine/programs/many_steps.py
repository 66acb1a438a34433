"""Many steps as one compiled program: what the programs of all backends have in common."""

import abc
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from bicoder.engine.arrays.trees import mapped
from bicoder.engine.loop import Logs
from bicoder.engine.programs.fixed import fixed_in_programs
from bicoder.engine.programs.optimizers import build, build_optimizer, knows
from bicoder.engine.tensor import Tensor
from bicoder.errors import UsageError

STEPS = 64  # at most, in one program
NUMBERS = 2**23  # at most, in the tensor of its batches: 32 MB, and up to four of them are in memory
SLOWER = 8  # times fewer if XLA does not compile: steps that take long need not be many in a program


class Chosen(NamedTuple):
    """Batches that a program takes itself: all examples (N, ...), and the numbers of some of them (n, batch)."""

    examples: Any
    numbers: Tensor


class ManySteps(abc.ABC):
    """The programs of a model, kept from one `fit` to the next as long as nothing has changed that is fixed in them.

    Args:
        xla: whether XLA compiles them; "auto" for what makes them faster.
        steps: how many steps a program takes; "auto" for what is fastest.
    Attributes:
        history: the metrics after each step of the last call, a dict of arrays (steps,).
    """

    def __init__(self, xla: bool | str = "auto", steps: int | str = "auto") -> None:
        self.xla, self.steps = xla, steps
        self.count, self.chooses = 1, False
        self.history: dict[str, np.ndarray] | None = None
        self._fixed: Any = None  # what the programs were made for
        self._programs: dict[str, Callable] = {}
        # Of each optimizer of `VAE.train`, as long as somebody has it.
        self._one_step: weakref.WeakKeyDictionary[keras.optimizers.Optimizer, Any] = weakref.WeakKeyDictionary()

    # What a backend has to say

    @abc.abstractmethod
    def compiles(self, model: Any) -> bool:
        """Whether XLA compiles the steps of a model, and they take their batches out of all examples."""

    def most(self, model: Any) -> int:
        """How many steps one program takes at most, if `compile` left it open."""
        return STEPS

    @abc.abstractmethod
    def program(self, model: Any, name: str) -> Callable[[Any, int], dict[str, Tensor]]:
        """A compiled function of the batches of up to `count` steps, tensors or `Chosen`, and of their number.

        Args:
            model: a built model.
            name: "train" or "test".
        Returns:
            The function; it updates the model, and gives the metrics after each step, a dict of arrays (count,).
        """

    def compile(self, calls: list[tuple[Callable, Any]]) -> None:  # noqa: B027 - else they are compiled when called
        """Compile what is known to come: pairs of a program and batches."""

    @abc.abstractmethod
    def stacked(self, arrays: list[Any]) -> Tensor:
        """Arrays of one shape as a tensor, (n, ...)."""

    @abc.abstractmethod
    def one_step(self, model: Any, optimizer: keras.optimizers.Optimizer) -> Callable[[Tensor], Tensor]:
        """A compiled function of one batch x: one update of the trainable variables, and the loss before."""

    # What the training loop asks for

    def prepare(self, model: Any, data: Any, validation: Any = None) -> None:
        """Make the programs for a built model and these sources, and compile what is known to come, all together."""
        build_optimizer(model)
        self.chooses = self.compiles(model)
        fixed = fixed_in_programs(model, model.optimizer)
        count = choose_steps(self.steps, self.chooses, data, validation, most=self.most(model))
        if fixed != self._fixed or count != self.count:
            self._programs = {}
        self.count, new = count, not self._programs
        for name in ("train", "test"):
            if name not in self._programs:
                self._programs[name] = self.program(model, name)
        if new and self.chooses:
            known = {"train": data, "test": validation}
            self.compile(
                [
                    (self._programs[name], batches)
                    for name, one in known.items()
                    if one
                    for batches in one.members(count)
                ]
            )
        self._fixed = fixed

    def train(self, group: list[Any]) -> tuple[Logs, int]:
        """Learn from the batches of a group; the metrics after the last, and how many there were."""
        return self._run(self._programs["train"], group)

    def test(self, group: list[Any]) -> tuple[Logs, int]:
        """The same without learning."""
        return self._run(self._programs["test"], group)

    def _run(self, program: Callable, group: list[Any]) -> tuple[Logs, int]:
        members = [self._filled(member) if isinstance(member, list) else member for member in group]
        histories = []
        for batches, count in members:
            metrics = program(batches, np.asarray(count, "int32"))
            histories.append({name: np.asarray(values)[:count] for name, values in metrics.items()})
        self.history = {name: np.concatenate([h[name] for h in histories]) for name in histories[0]}
        return {name: values[-1] for name, values in self.history.items()}, sum(count for _, count in members)

    def _filled(self, batches: list[Any]) -> tuple[Any, int]:
        """Batches of one shape as one of tensors (steps, batch, ...), and how many they are.

        They are filled up with the last of them, so that one program serves; a single batch, often a short one, has
        its own.
        """

        def stack(*arrays: Any) -> Tensor:
            filled = [*arrays, *arrays[-1:] * (self.count - len(arrays))] if len(arrays) > 1 else arrays
            return self.stacked(list(filled))

        return mapped(stack, *batches), len(batches)

    # What `VAE.train` asks for

    def step_of(self, model: Any, optimizer: keras.optimizers.Optimizer) -> Callable[[Tensor], Tensor]:
        """The `one_step` of a built model and an optimizer."""
        fixed = [id(variable) for variable in model.trainable_variables]  # all else would take longer than a step
        found, step = self._one_step.get(optimizer, (None, None))
        if found != fixed:
            step = self.one_step(model, optimizer)
            if not optimizer.built:
                build(optimizer, model.trainable_variables)
            elif not knows(optimizer, model.trainable_variables):
                raise UsageError(
                    "train: the optimizer was built for fewer variables than are trained now, some were frozen; make a "
                    "new one"
                )
            self._one_step[optimizer] = fixed, step
        return step


def has_convolutions(model: Any) -> bool:
    """Whether a model learns convolutions, whose kernels have more than two axes."""
    return any(len(variable.shape) > 2 for variable in model.trainable_variables)


def choose_steps(wanted: int | str, xla: bool, *sources: Any, most: int = STEPS) -> int:
    """How many steps one program takes, if `compile` left it open.

    Args:
        wanted: what `compile` was told.
        xla: whether XLA compiles the program.
        sources: of training and validation; None among them does not count.
        most: steps at most.
    """
    if wanted != "auto":
        return int(wanted)
    limits = [most] + [source.count for source in sources[:1] if source.count]
    for source in sources:
        if source is not None and not (xla and source.examples is not None):  # else there is no tensor of batches
            limits.append((NUMBERS if xla else NUMBERS // SLOWER) // source.numbers_in_a_batch())
    return max(1, min(limits))
