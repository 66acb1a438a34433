"""Many steps of training as one compiled program of JAX, with the data and the weights on the device."""

import weakref
from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

from bicoder.engine.arrays.trees import mapped
from bicoder.engine.programs.devices import Spread, divided, is_spread, layout, place, register, spread
from bicoder.engine.programs.many_steps import STEPS, Chosen, ManySteps, has_convolutions
from bicoder.engine.tensor import Tensor

GROUPS = {"train": ("trainable", "rest", "optimizer", "metrics"), "test": ("trainable", "rest", "metrics")}


class JaxSteps(ManySteps):
    """The programs of a model on JAX, which XLA compiles always: pure functions of all that the model changes."""

    def compiles(self, model: Any) -> bool:
        return True

    def most(self, model: Any) -> int:
        return 1 if slow_convolutions(model) else STEPS

    def program(self, model: Any, name: str) -> Callable:
        step = model.train_step if name == "train" else model.test_step
        run = many_steps(step, self.count, stays(placed(model, model.optimizer, name)))

        def program(batches: Any, count: Any) -> dict[str, Tensor]:
            groups = [variables(model, model.optimizer)[group] for group in GROUPS[name]]
            state, history = run(values_of(groups), batches, count)
            assign(groups, state)
            return history

        return program

    def stacked(self, arrays: list[Any]) -> Tensor:
        return np.stack(arrays) if is_spread() else jnp.stack(arrays)

    def _filled(self, batches: list[Any]) -> tuple[Any, int]:
        found, count = super()._filled(batches)
        return (spread(found) if is_spread() else found), count

    def one_step(self, model: Any, optimizer: keras.optimizers.Optimizer) -> Callable[[Tensor], Tensor]:
        known = weakref.ref(optimizer)  # whoever calls the function has it; the function does not keep it
        run = jax.jit(one_step(model, known))

        def step(x: Tensor) -> Tensor:
            groups = [variables(model, known())[group] for group in GROUPS["train"]]
            loss, state = run(values_of(groups), spread(mapped(lambda one: one[None], x)) if is_spread() else x)
            assign(groups, state)
            return loss

        return step


def slow_convolutions(model: Any) -> bool:
    """Whether a model has convolutions, and there is a CPU alone.

    There JAX' convolutions take several times as long as TensorFlow's, and in a loop four times as long again.
    """
    return jax.default_backend() == "cpu" and has_convolutions(model)


def variables(model: Any, optimizer: Any) -> dict[str, list[keras.Variable]]:
    """All that a step may change, in the groups in which Keras has it."""
    return {
        "trainable": model.trainable_variables,
        "rest": model.non_trainable_variables,
        "optimizer": optimizer.variables,
        "metrics": model.metrics_variables,
    }


def values_of(groups: list[list[keras.Variable]]) -> tuple[list[Tensor], ...]:
    """The values of groups of variables, as the steps of Keras take them."""
    return tuple([variable.value for variable in group] for group in groups)


def assign(groups: list[list[keras.Variable]], state: Any) -> None:
    """Give variables the values that a program has found."""
    for group, values in zip(groups, state, strict=True):
        for variable, value in zip(group, values, strict=True):
            variable.assign(value)


def placed(model: Any, optimizer: Any, name: str) -> list[list[keras.Variable]]:
    """What a program changes, by groups; if several devices run it, on all of them."""
    groups = [variables(model, optimizer)[group] for group in GROUPS[name]]
    if is_spread():
        register()
        place([variable for group in groups for variable in group])
    return groups


def stays(groups: list[list[keras.Variable]]) -> Any:
    """Where a program leaves a state and a history, for `jax.jit`: what it changes stays where it is."""
    if not is_spread():
        return None
    return tuple([value.sharding for value in group] for group in values_of(groups)), layout((), None)


def many_steps(step: Callable, steps: int, where: Any = None) -> Callable:
    """A compiled function of a state, of the batches of up to `steps` steps, and of their number.

    Args:
        step: Keras' own function (state, batch) -> (metrics, state).
        steps: how many steps the program is compiled for.
        where: the devices of what it gives, if there are several.
    Returns:
        The function; it gives the state after them, and the metrics after each step, a dict of arrays (steps,).
    """

    def program(state: Any, batches: Any, count: Tensor) -> Any:
        if steps == 1:  # see `slow_convolutions`
            logs, state = step(state, batch_of(batches, 0))
            return state, {name: jnp.asarray(value, "float32")[None] for name, value in logs.items()}

        def body(i: Tensor, carried: Any) -> Any:
            state, history = carried
            logs, state = step(state, batch_of(batches, i))
            return state, {name: values.at[i].set(logs[name]) for name, values in history.items()}

        logs, _ = jax.eval_shape(step, state, jax.eval_shape(lambda tree: batch_of(tree, 0), batches))
        history = {name: jnp.zeros(steps, "float32") for name in logs}
        return jax.lax.fori_loop(0, count, body, (state, history))

    return jax.jit(program, out_shardings=where)


def one_step(model: Any, optimizer_of: Callable[[], Any]) -> Callable:
    """A function of a state and a batch x: the loss before one update of the trainable variables, and the new state."""

    def step(state: Any, x: Tensor) -> Any:
        trainable, rest, moments, metrics = state
        x = batch_of(x, 0) if isinstance(x, Spread) else x
        optimizer = optimizer_of()
        known = variables(model, optimizer)

        def loss_of(trainable: Any) -> Any:
            values = {"trainable": trainable, "rest": rest, "optimizer": moments, "metrics": metrics}
            mapping = [pair for group in values for pair in zip(known[group], values[group], strict=True)]
            with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
                loss = model.compute_loss(x=x, y_pred=model(x, training=True))
                scaled = optimizer.scale_loss(loss)
            return scaled, (loss, [[scope.get_current_value(v) for v in known[group]] for group in ("rest", "metrics")])

        (_, (loss, (rest, metrics))), gradients = jax.value_and_grad(loss_of, has_aux=True)(trainable)
        learnt = [*zip(known["trainable"], trainable, strict=True), *zip(known["optimizer"], moments, strict=True)]
        with keras.StatelessScope(state_mapping=learnt) as scope:  # `stateless_apply` takes all that it was built for
            optimizer.apply(gradients, known["trainable"])
        trainable, moments = ([scope.get_current_value(v) for v in known[name]] for name in ("trainable", "optimizer"))
        return loss, (trainable, rest, moments, metrics)

    return step


def batch_of(batches: Any, i: Tensor) -> Any:
    """Batch i, inside a program."""
    if isinstance(batches, Spread):
        return divided(mapped(lambda array: array[: batches.size], batch_of(batches.batches, i)))
    if isinstance(batches, Chosen):
        return mapped(lambda examples: jnp.take(examples, batches.numbers[i], axis=0), batches.examples)
    return mapped(lambda array: array[i], batches)
