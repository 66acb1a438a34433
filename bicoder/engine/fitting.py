"""How `VAE.fit` runs on TensorFlow: many steps of training as one compiled program.

Called once for every batch, a step of a small network is mostly overhead: a program that is entered, a batch that is
fetched, one kernel for every small operation. Here the batches of many steps lie in one tensor, and the loop over them
is inside the program. XLA makes few kernels of the many small operations (noise, bound, optimizer), which halves the
time of an MLP; on a CPU it has no fast convolutions, so a model that holds some is left to TensorFlow's own kernels.
"""

import contextlib
import functools
import itertools
import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bicoder.engine.batches import Batches, Chosen
from bicoder.engine.slices import fastest_parts
from bicoder.engine.tracing import PARTS, XLA, during

STEPS = 64  # at most, in one program
NUMBERS = 2**23  # at most, in the tensor of its batches: 32 MB, of which up to four are in memory
SLOWER = 8  # times fewer where XLA does not compile: steps that take long need not be many in a program


def is_array(x):
    """Whether `x` holds all examples, rather than giving batches of them."""
    return hasattr(x, "shape") and hasattr(x, "__array__")


def split(x, fraction, validation_data):
    """Training and validation data; the last `fraction` of x is held out, as in Keras, where there are none yet."""
    if not fraction or validation_data is not None:
        return x, validation_data
    count = math.floor(len(x) * (1.0 - fraction))
    return x[:count], x[count:]


def batches(vae, x, batch_size, shuffle, epoch=0):
    """A data set of batches of the array x; its order follows from the state of the model's noise."""
    x = np.asarray(x, "float32") if isinstance(x, np.ndarray) or tf.is_tensor(x) else x
    drawn = Batches(x, batch_size, [int(number) for number in np.array(vae.noise.state)], shuffle)
    drawn.epoch.assign(epoch)
    return drawn.dataset()


def choose_steps(vae, x, validation_data=None, counts=()):
    """How many steps one program takes, where `compile` left it open.

    Args:
        vae: a `VAE`.
        x, validation_data: what `fit` was given.
        counts: steps of an epoch and of a validation, where the user gave some: a program must end where they end.
    """
    if vae._steps != "auto":
        return vae._steps
    numbers = NUMBERS if uses_xla(vae) else NUMBERS // SLOWER
    limits = [STEPS, x.batches.count] if hasattr(x, "batches") else [STEPS]
    for data in (x, validation_data):
        if uses_xla(vae) and hasattr(data, "batches") and data.batches.tensor is not None:
            continue  # of which there is no tensor of batches
        batch = data.batches.batch_size if hasattr(data, "batches") else 128
        shapes = [getattr(spec, "shape", None) for spec in tf.nest.flatten(getattr(data, "element_spec", None))]
        limits += [numbers // math.prod(batch if n is None else n for n in shape) for shape in shapes if shape]
    return max(n for n in range(1, max(1, min(limits)) + 1) if all(count % n == 0 for count in counts))


def uses_xla(vae):
    """Whether XLA compiles the steps of a model: what `compile` was told, else where that makes them faster.

    XLA takes seconds for each program: BICODER_XLA=0 in the environment leaves it out of what nobody told.
    """
    if vae._xla != "auto":
        return bool(vae._xla)
    if os.environ.get("BICODER_XLA") == "0":
        return False
    # On a GPU always; on a CPU without convolutions, whose kernels have more than two axes.
    return bool(tf.config.list_logical_devices("GPU")) or all(len(v.shape) < 3 for v in vae.trainable_variables)


def stand_in(data):
    """What Keras iterates over: batch numbers where `ManySteps` gathers the batches itself, which makes no pipeline."""
    source = getattr(data, "batches", None)
    if source is None:
        return data
    numbers = tf.data.Dataset.range(int(source.skip), source.count)
    numbers.batches = source
    return numbers


def functions(vae, x, validation_data, counts):
    """The functions of `fit` for these data, those of an earlier call where they serve: `Fitting.used`, to enter."""
    if hasattr(x, "batches") and not vae.built:
        vae.build((None, *x.batches.images.shape[1:]))
    steps = choose_steps(vae, x, validation_data, counts)
    if vae._fitting is None or vae._fitting.steps != steps:
        vae.__dict__["_fitting"] = Fitting(vae, steps)
    vae._fitting.prepare(x, validation_data)
    return vae._fitting.used()


class Fitting:
    """The functions that `fit` runs, kept for the next `fit` of the same model.

    Keras has its own for all else, which take one step: `evaluate` and `predict`, be it in a callback of `fit`.

    Args:
        vae: a compiled `VAE`.
        steps: how many steps one program takes.
    Attributes:
        train, test: `ManySteps`.
    """

    def __init__(self, vae, steps):
        self.vae, self.steps = vae, steps
        self.train, self.test = ManySteps(vae, vae.train_step, steps), ManySteps(vae, vae.test_step, steps)
        # What the model has not got now: these functions, or those of Keras.
        self.others, self.in_use = (steps, self.train, self.test), False

    def prepare(self, x, validation_data):
        """Note where batches come from, and compile what is known to come, all at the same time."""
        self.train.source, self.test.source = getattr(x, "batches", None), getattr(validation_data, "batches", None)
        known = [function for function in (self.train, self.test) if function.source and not function.program]
        for function in known:
            function.make_program(function.source.images[:1])
        if uses_xla(self.vae):
            calls = [
                (one.program, batches, tf.constant(0)) for one in known for batches in one.source.examples(self.steps)
            ]
            compile_together(calls)

    @contextlib.contextmanager
    def used(self, use=True):
        """Inside, Keras calls these functions and counts their steps; or, with False, its own."""
        swaps = self.swap if self.in_use != use else lambda: None
        swaps()
        try:
            yield
        finally:
            swaps()

    def swap(self):
        vae, others, self.in_use = self.vae, self.others, not self.in_use
        self.others = vae.steps_per_execution, vae.train_function, vae.test_function
        vae.steps_per_execution, vae.train_function, vae.test_function = others

    def validates(self, x, steps=None, _use_cached_eval_dataset=False, **_):
        """Whether these arguments of `evaluate` are what `fit` validates with: Keras says so itself, or all of x is."""
        known = self.test.source is not None and getattr(x, "batches", None) is self.test.source
        return _use_cached_eval_dataset or (known and steps is None)


class ManySteps:
    """A function that Keras calls for each group of batches.

    Args:
        vae: a compiled `VAE`.
        step: what it does with one batch: `vae.train_step` or `vae.test_step`.
        steps: how many steps one program takes.
    Attributes:
        source: the `Batches` that it takes many of at once; None where Keras' iterator gives them one by one.
        program: the compiled program, once there is one.
        history: the metrics after each step of the last call, a dict of arrays (steps,).
    """

    def __init__(self, vae, step, steps):
        self.vae, self.step, self.steps = vae, step, steps
        self.source: Any = None
        self.program: Any = None
        self.iterator, self.groups, self.history = None, iter(()), {}

    def __call__(self, iterator):
        """Take the next batches from Keras' iterator, one step for each; the metrics, a dict of scalars."""
        groups = self.next_groups(iterator)
        if self.program is None:
            x, _, _ = keras.utils.unpack_x_y_sample_weight(groups[0][0])
            self.make_program(x[0])
        histories = [self.run(*group) for group in groups]
        self.history = {name: np.concatenate([h[name] for h in histories]) for name in histories[0]}
        return {name: values[-1] for name, values in self.history.items()}

    def next_groups(self, iterator):
        """Lists, with one member for each batch size: tensors (n, batch, ...), and how many batches of them count."""
        if self.source is None:
            return take(iterator, self.steps)
        if iterator is not self.iterator:  # a new epoch: images are gathered for many batches at once
            # XLA takes a batch out of all images in no time; for TensorFlow's own kernels another thread does it.
            self.iterator, self.groups = iterator, self.source.many(self.steps, chosen=uses_xla(self.vae))
        return next(self.groups)

    def make_program(self, x):
        """The program for the model as it is, which is built for data such as x (batch, ...) if it is not built yet."""
        vae = self.vae
        vae.prepare(x)
        if not vae.optimizer.built:
            vae.optimizer.build(vae.trainable_variables)
        self.program = many_steps(self.step, vae.get_metrics_result, self.steps, uses_xla(vae))

    def run(self, batches, count):
        """A step for each of the first `count` batches; the metrics after each, a dict of arrays (count,)."""
        metrics = self.program(batches, tf.constant(count))
        return {name: values.numpy()[:count] for name, values in metrics.items()}


def take(iterator, steps):
    """The next `steps` batches of an iterator, those of one shape together, and how many they are.

    They are filled up to `steps`, so that one program serves; a single batch, often a short one, has its own.

    Raises:
        StopIteration: there are none.
    """
    taken = [keras.tree.map_structure(without_optional, batch) for batch in itertools.islice(iterator, steps)]
    if not taken:
        raise StopIteration
    groups = [list(group) for _, group in itertools.groupby(taken, shapes_of)]
    return [(keras.tree.map_structure(functools.partial(stack, steps), *group), len(group)) for group in groups]


def shapes_of(batch):
    """The shapes of the arrays in a structure."""
    return [tuple(array.shape) for array in keras.tree.flatten(batch) if array is not None]


def without_optional(array):
    """Keras hands over an empty Optional for what was not given, such as sample weights."""
    return None if isinstance(array, tf.experimental.Optional) else array


def stack(steps, *arrays):
    """(steps, ...) of up to `steps` arrays, the last of them again and again; (1, ...) of one; None stays None."""
    if arrays[0] is None:
        return None
    return tf.stack([*arrays, *arrays[-1:] * (steps - len(arrays))] if len(arrays) > 1 else arrays)


def many_steps(step, logs, steps, xla):
    """A compiled function of the batches of up to `steps` steps, tensors or `Chosen`, and of their number.

    Args:
        step: function of one batch, which updates the model and its metrics.
        logs: function without arguments that gives the metrics, a dict of scalars.
        steps: how many steps the program is compiled for.
        xla: whether XLA compiles it.
    Returns:
        The function; it gives the metrics after each step, a dict of arrays (steps,).
    """

    def program(batches, count):
        def body(i, history):
            step(batch_of(batches, i))
            values = logs()
            return i + 1, {name: array.write(i, values[name]) for name, array in history.items()}

        with traced(xla):
            history = {name: tf.TensorArray("float32", steps) for name in logs()}
            _, history = tf.while_loop(lambda i, _: i < count, body, (0, history), parallel_iterations=1)
        return {name: array.stack() for name, array in history.items()}

    return tf.function(program, jit_compile=xla, autograph=False)


@contextlib.contextmanager
def traced(xla):
    """What is traced inside is compiled by XLA, or has its batches in the parts that TensorFlow's kernels want."""
    with during(XLA, xla), during(PARTS, 1 if xla else fastest_parts()):
        yield


def batch_of(batches, i):
    """Batch i, inside a program."""
    if isinstance(batches, Chosen):
        return tf.gather(batches.images, batches.numbers[i])
    return keras.tree.map_structure(lambda array: None if array is None else array[i], batches)


def compile_together(calls):
    """Have XLA compile programs at the same time, which takes little longer than one.

    Args:
        calls: tuples of a `tf.function`, batches, and their number, which is 0, so that nothing happens.
    """
    for program, *arguments in calls:  # traced here, since what Keras keeps for a thread is known in this one
        program.get_concrete_function(*arguments)
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda call: call[0](*call[1:]), calls))
