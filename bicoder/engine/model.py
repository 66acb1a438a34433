"""A Keras model that has its loss in itself, and learns from many batches (x, y, sample weights) in one program."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from bicoder.engine.arrays.conditioned import Conditioned, conditioned, parted
from bicoder.engine.arrays.inputs import examples_of, whole
from bicoder.engine.arrays.masked import shape_of_example
from bicoder.engine.arrays.numbers import check_numbers, check_target
from bicoder.engine.arrays.trees import arrays_of, batched, check_there, is_arrays, leaves, mapped
from bicoder.engine.programs.devices import by_keras_alone
from bicoder.engine.programs.optimizers import check_optimizer
from bicoder.engine.programs.tracing import TARGET, WEIGHTS, during
from bicoder.engine.streams import Stream
from bicoder.engine.tensor import Tensor
from bicoder.errors import UsageError, check_count


def check_counts(options: dict[str, Any]) -> None:
    """`UsageError` if a number of examples, steps or epochs of `fit` is none; no epochs at all are some."""
    for name in ("batch_size", "validation_batch_size", "steps_per_epoch", "validation_steps"):
        if options[name] is not None:
            check_count(name, options[name])
    for name in ("epochs", "initial_epoch"):
        if options[name] is False or options[name] != 0:
            check_count(name, options[name])
    if not isinstance(options["validation_freq"], (list, tuple, set)):
        check_count("validation_freq", options["validation_freq"])


def check_callbacks(callbacks: Any) -> None:
    """`UsageError` if one of them is a class, a name or anything else that is no callback."""
    for callback in keras.tree.flatten(callbacks):
        if isinstance(callback, type) or not (callback is None or hasattr(callback, "set_model")):
            raise UsageError(f"callbacks: expected callbacks of Keras, such as EarlyStopping(), received {callback!r}")


def steps_of_backend() -> Callable[..., Any]:
    """The class of the compiled programs of Keras' backend.

    Raises:
        UsageError: it has none; Keras' own loop trains.
    """
    if keras.backend.backend() == "tensorflow":
        from bicoder.engine.programs.tensorflow_steps import TensorFlowSteps

        return TensorFlowSteps
    if keras.backend.backend() == "jax":
        from bicoder.engine.programs.jax_steps import JaxSteps

        return JaxSteps
    raise UsageError(f"train: expected the backend tensorflow or jax, received {keras.backend.backend()}; use fit")


class Model(keras.Model):
    """`compile`, `fit`, `evaluate` and `train` of a model whose `call` gives the terms of its loss.

    y is what the model has to explain in place of x, such as clean images of noisy ones: of the shape of x. `call`
    finds it in `TARGET`, and the weights of the examples in `WEIGHTS`. If the model has a condition, y is what it is
    told beside x, and `call` gets `Conditioned(x, y)`; a target then comes with x, as (x, target).
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.condition: Any = None  # a `Condition`, of a model of p(x|y)
        self.may_be_pixels = True  # which have to be divided by their largest value; tables have numbers of any size
        # What `compile` is told, and the compiled programs of `fit` and `train`, which are no part of the model.
        self.jit: bool | str = "auto"
        self.steps: int | str = "auto"
        self._programs: Any = None
        self._example_shape: Any = None

    def compile(
        self,
        optimizer: Any = "adam",
        *,
        steps_per_execution: int | str = "auto",
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        """Choose the optimizer, as in Keras; the loss is the model's own objective.

        Args:
            optimizer: a Keras optimizer, or its name.
            steps_per_execution: how many steps are one program, after which callbacks are told of them; "auto" for up
                to 64, which is fastest; 1 for callbacks that act on the model between two steps.
            jit_compile: whether XLA compiles the steps (TensorFlow); "auto" for where that makes them faster.
            kwargs: of `keras.Model.compile`, but for a loss.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name) is not None:
                raise UsageError(
                    f"{name}: the loss of a VAE is its objective, and elbo, distortion and rate are its metrics; "
                    f"expected nothing here, received {kwargs[name]!r}; use VAE(objective=...)"
                )
        optimizer = keras.optimizers.get(optimizer) if isinstance(optimizer, (str, dict)) else optimizer
        check_optimizer("compile", optimizer)
        scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer) or not kwargs.pop("auto_scale_loss", True)
        if self.encoder.dtype_policy.name == "mixed_float16" and not scales:  # the model itself is of float32
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        self.jit, self.steps = jit_compile, steps_per_execution
        self._programs = None
        if keras.backend.backend() == "tensorflow" and jit_compile == "auto":
            jit_compile = False  # Keras' own functions, of `evaluate` and `predict`; `fit` has its own
        steps = 1 if steps_per_execution == "auto" else steps_per_execution
        super().compile(optimizer, steps_per_execution=steps, jit_compile=jit_compile, **kwargs)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> keras.callbacks.History:
        """Train as in Keras, but many steps at a time.

        Args:
            x: examples (N, ...), or anything that gives batches: a `tf.data.Dataset`, a `PyDataset`, a generator.
            y, sample_weight: of each example, or None; in the batches, if x gives batches.
        The other arguments are those of `keras.Model.fit`.
        """
        options = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        if options.pop("class_weight") is not None:
            raise UsageError("class_weight: a VAE has no classes; expected the weight of each example as sample_weight")
        check_counts(options)
        check_callbacks(callbacks)
        if isinstance(validation_split, bool) or not 0 <= validation_split < 1:
            raise UsageError(f"validation_split: expected a number from 0 and below 1, received {validation_split!r}")
        if isinstance(x, dict):
            examples_of(x, self.example_shape)
        from bicoder.engine.fit import fit

        return fit(self, super().fit, options)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: str | int = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The loss and the metrics of some data, as in Keras; x, y and sample_weight are those of `fit`."""
        data = {"x": x, "y": y, "sample_weight": sample_weight}
        if is_arrays(x):
            data = self._for_keras(**data)
        elif not kwargs and not self._is_ours(x):  # Keras' own `fit` adds some, and takes the same data again and again
            batches = Stream(x, check=self.check_batch, arranged=self.arranged_batch).iterator
            data["x"] = (batch if isinstance(batch, tuple) else (batch,) for batch in batches)
        options = {"verbose": verbose, "steps": steps, "callbacks": callbacks, "return_dict": return_dict}
        with by_keras_alone():
            return super().evaluate(batch_size=batch_size, **data, **options, **kwargs)

    def check(self, x: Any, y: Any = None) -> None:
        """See that arrays x, and y of their shape, are something to learn from.

        Raises:
            UsageError: y is of another shape.
            DataError: numbers that are not finite, or on another scale.
        """
        x, _ = parted(x)
        if y is not None:
            check_target(x, y)
        for name, tree in (("x", x), ("y", y)):
            views = {f"{name}[{view!r}]": one for view, one in tree.items()} if isinstance(tree, dict) else {name: tree}
            for name_of_view, one in views.items():
                for array in leaves(one):
                    check_numbers(array, name_of_view, self.may_be_pixels)

    def check_batch(self, batch: Any) -> Any:
        """`check` a batch (x, y, sample weights), or x alone, that is arranged; the batch."""
        x, y, _ = keras.utils.unpack_x_y_sample_weight(batch)
        self.check(x, y)
        check_there(x)
        return batch

    def learn(self, x: Any) -> None:
        """Let the condition take from all examples what nobody has said of it."""
        if isinstance(x, Conditioned):
            self.condition.learn(np.asarray(x.y))

    def is_pair(self, x: Any) -> bool:
        """Whether x of a conditional model comes with something beside it: (x, y), or in `fit` (x, target)."""
        return self.condition is not None and type(x) is tuple and len(x) == 2

    def arranged(self, x: Any, y: Any) -> tuple[Any, Any]:
        """x and the target, of x and y of `fit`: y of a conditional model is no target but what it is told.

        Raises:
            UsageError: there is no y, or x is more than examples and a target.
        """
        if self.condition is None or isinstance(x, Conditioned):
            return x, y
        if y is None:
            raise UsageError(f"condition: expected {self.condition.expected}, beside x, received none")
        x, target = x if self.is_pair(x) else (x, None)
        return Conditioned(x, y if hasattr(y, "shape") and len(y.shape) else np.atleast_1d(y)), target

    def arranged_batch(self, batch: Any) -> Any:
        """A batch (x, y, sample weights), or x alone, with x and y as `arranged` has them."""
        if self.condition is None:
            return batch
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        x, y = self.arranged(x, y)
        return keras.utils.pack_x_y_sample_weight(x, y) if weights is None else (x, y, weights)

    def examples(self, x: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """x, y and the weights of all examples, once they are looked at, as `arrays_of` has them; y is None if it is x.

        Raises:
            UsageError, DataError: they are none to learn from.
        """
        x, y = self.arranged(x, None if y is x and self.condition is None else y)  # twice would take twice the memory
        x, y = whole(x), whole(y)
        if isinstance(x, (dict, Conditioned)) or isinstance(self.example_shape, dict):
            x = examples_of(x, self.example_shape)
        self.learn(x)
        self.check(x, y)
        return arrays_of(x, y, sample_weight)

    def _for_keras(self, x: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
        """Arguments for Keras' own functions, which leave the weights out of data that have no y."""
        x, y, weights = self.examples(x, y, sample_weight)
        return {"x": x, "y": parted(x)[0] if y is None and weights is not None else y, "sample_weight": weights}

    def train_step(self, *args: Any) -> Any:
        """Keras' step on a batch, or on (state, batch)."""
        found = self._beside_x(super().train_step, args)
        self.say_before_training()
        return found

    def test_step(self, *args: Any) -> Any:
        """The same without learning."""
        return self._beside_x(super().test_step, args)

    @staticmethod
    def _is_ours(data: Any) -> bool:
        """Whether these are the batches of a `DataLoader`, whose images were looked at when they were read."""
        from bicoder.engine.batches import source_of

        return source_of(data) is not None

    def _beside_x(self, step: Callable, args: tuple) -> Any:
        """A step of Keras in which `call` knows the target and the weights."""
        *state, batch = args
        batch = self.arranged_batch(batch)
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        if y is not None:
            check_target(parted(x)[0], y)
        with during(TARGET, y), during(WEIGHTS, weights):
            return step(*state, batch)

    def say_before_training(self) -> None:
        """Say what a user should know of a built model, once, when its training begins."""

    def train(self, x: Tensor = True, optimizer: Any = None) -> Tensor:
        """One update of the trainable variables, the same as `fit` makes (TensorFlow and JAX).

        Args:
            x: batch (batch, ...); of a conditional model (x, y).
            optimizer: a Keras optimizer; keep to one, since it owns the moments.
        Returns:
            The loss before the update, a scalar tensor, in nats for one example.
        """
        if optimizer is None and isinstance(x, bool) and hasattr(super(), "train"):
            return super().train(x)  # PyTorch's modules have a method of this name: training mode, on or off
        check_optimizer("train", optimizer, "a batch and ")
        if self.is_pair(x):
            x, _ = self.arranged(*x)
        if self._programs is None:  # the first batch, since to look at each would take a twentieth of its step
            for array in leaves(parted(x)[0]):
                check_numbers(array, pixels=self.may_be_pixels)
        x = self.prepare(x)
        self.say_before_training()
        return self.programs.step_of(self, optimizer)(x)

    @property
    def programs(self) -> Any:
        """The compiled programs of `fit` and `train`, of TensorFlow or JAX."""
        if self._programs is None:
            self._programs = steps_of_backend()(self.jit, self.steps)
        return self._programs

    @property
    def step_metrics(self) -> dict[str, np.ndarray] | None:
        """The metrics after each step of the program that `fit` ran last, arrays (steps,); means over the epoch."""
        return None if self._programs is None else self._programs.history

    @property
    def example_shape(self) -> Any:
        """Shape of one x, a tuple, or a dict view -> tuple; None if the model has not seen any."""
        return self._example_shape if self.built else None

    def prepare(self, x: Any) -> Any:
        """`x` as a tensor, or as those of its views; a model that is not built yet takes its shape."""
        if isinstance(self.example_shape, dict) or isinstance(x, (dict, Conditioned, np.ma.MaskedArray)):
            x = examples_of(x, self.example_shape)
        x = mapped(lambda one: ops.convert_to_tensor(one, dtype="float32"), x)
        if not self.built:
            self.build(conditioned(batched(shape_of_example(x)), x.y.shape if isinstance(x, Conditioned) else None))
        self.check_shape(x)
        return x

    def check_shape(self, x: Any) -> None:
        """`UsageError` if examples are of another shape than the model's; of its views, some may be missing."""
        received, expected = shape_of_example(x), self.example_shape
        if isinstance(received, dict) and isinstance(expected, dict):
            expected = {view: expected.get(view) for view in received}
        if received != expected:
            raise UsageError(f"x: expected examples of shape {self.example_shape}, received {received}")
