"""How `VAE.fit` runs on TensorFlow: many steps of training as one compiled program.

Called once for every batch, a step of a small network is mostly overhead: a program that is entered, a batch that is
fetched, one kernel for every small operation. Here the batches of many steps lie in one tensor, and the loop over them
is inside the program. XLA makes few kernels of the many small operations (noise, bound, optimizer), which halves the
time of an MLP; on a CPU it has no fast convolutions, so a model that holds some is left to TensorFlow's own kernels.
"""

import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import tensorflow as tf

from bicoder.batches import Batches
from bicoder.random_numbers import compiled_by_xla
from bicoder.stored_images import StoredImages

STEPS = 64  # at most, in one program
NUMBERS = 2**23  # at most, in the tensor of its batches: 32 MB, of which up to four are in memory
SLOWER = 8  # times fewer where XLA does not compile: steps that take long need not be many in a program


def is_array(x):
    """Whether `x` holds all examples, rather than giving batches of them."""
    return isinstance(x, (np.ndarray, StoredImages)) or tf.is_tensor(x)


def split(x, fraction, validation_data):
    """Training and validation data; the last `fraction` of x is held out, as in Keras, where there are none yet."""
    if not fraction or validation_data is not None:
        return x, validation_data
    count = math.floor(len(x) * (1.0 - fraction))
    return x[:count], x[count:]


def batches(vae, x, batch_size, shuffle, epoch):
    """A data set of batches of the array x; its order follows from the state of the model's noise."""
    x = x if isinstance(x, StoredImages) else np.asarray(x, "float32")
    drawn = Batches(x, batch_size, [int(number) for number in np.array(vae.noise.state)], shuffle)
    drawn.epoch.assign(epoch)
    return drawn.dataset()


def choose_steps(vae, x, batch_size):
    """Settle how many steps one program takes where `compile` left it open, and where `fit` gets its batches from."""
    source = vae.__dict__["_batches"] = getattr(x, "batches", None)
    if source and not vae.built:
        vae.build((None, *source.images.shape[1:]))
    if vae._steps == "auto":
        steps, batch = STEPS, source.batch_size if source else batch_size or 128
        numbers = NUMBERS if uses_xla(vae) else NUMBERS // SLOWER
        if hasattr(x, "element_spec"):
            shapes = [spec.shape for spec in tf.nest.flatten(x.element_spec) if hasattr(spec, "shape")]
            known = [[batch if size is None else size for size in shape] for shape in shapes if shape.rank]
            steps = max(1, min([STEPS, *(numbers // math.prod(shape) for shape in known)]))
        if steps != vae.steps_per_execution:
            vae.steps_per_execution = steps
            vae.train_function = vae.test_function = vae.predict_function = None  # each was made for other steps


def stand_in(vae, x):
    """What Keras iterates over: batch numbers where `ManySteps` gathers the batches itself, which makes no pipeline."""
    if vae._batches is None or vae.run_eagerly:
        return x
    return tf.data.Dataset.range(vae._batches.count)


def uses_xla(vae):
    """Whether XLA compiles the steps of a model: what `compile` was told, else where that makes them faster."""
    if vae._xla != "auto":
        return bool(vae._xla)
    # On a GPU always; on a CPU without convolutions, whose kernels have more than two axes.
    return bool(tf.config.list_logical_devices("GPU")) or all(len(v.shape) < 3 for v in vae.trainable_variables)


class ManySteps:
    """The function that `VAE.fit` calls for each group of batches.

    Args:
        vae: a compiled `VAE`.
    Attributes:
        history: the metrics after each step of the last call, a dict of arrays (steps,).
    """

    def __init__(self, vae):
        self.vae, self.steps = vae, vae.steps_per_execution
        self.iterator, self.groups, self.program, self.history = None, iter(()), None, {}

    def __call__(self, iterator):
        """Take the next batches from Keras' iterator and learn from them; the metrics, a dict of scalars."""
        groups = self.next_groups(iterator)
        if self.program is None:
            self.program = self.make_program(groups[0])
        histories = [self.program(group) for group in groups]
        self.history = {name: np.concatenate([h[name] for h in histories]) for name in histories[0]}
        return {name: values[-1] for name, values in self.history.items()}

    def next_groups(self, iterator):
        """Lists of structures of tensors (steps, batch, ...), one for each batch size; StopIteration at the end."""
        source = self.vae._batches
        if source is None or not isinstance(iterator, tf.data.Iterator):
            return take(iterator, self.steps)
        if iterator is not self.iterator:  # a new epoch: images are gathered for many batches at once
            self.iterator, self.groups = iterator, source.many(self.steps)
        return next(self.groups)

    def make_program(self, batches):
        """The compiled program for the model as it is, built for data such as these where it is not built yet."""
        vae = self.vae
        x, _, _ = keras.utils.unpack_x_y_sample_weight(batches)
        vae.prepare(x[0])
        if not vae.optimizer.built:
            vae.optimizer.build(vae.trainable_variables)
        shapes = vae._batches.shapes(self.steps) if vae._batches else []
        return compile_steps(vae.train_step, vae.get_metrics_result, self.steps, uses_xla(vae), shapes)


def take(iterator, steps):
    """The next `steps` batches of an iterator, those of one shape together.

    Raises:
        StopIteration: there are none.
    """
    taken = [keras.tree.map_structure(without_optional, batch) for batch in itertools.islice(iterator, steps)]
    if not taken:
        raise StopIteration
    return [keras.tree.map_structure(stack, *group) for _, group in itertools.groupby(taken, shapes_of)]


def shapes_of(batch):
    """The shapes of the arrays in a structure."""
    return [tuple(array.shape) for array in keras.tree.flatten(batch) if array is not None]


def without_optional(array):
    """Keras hands over an empty Optional for what was not given, such as sample weights."""
    return None if isinstance(array, tf.experimental.Optional) else array


def stack(*arrays):
    """(n, ...) of n arrays; None stays None."""
    return None if arrays[0] is None else tf.stack(arrays)


def fill(array, steps):
    """`array`, (n, ...), with zeros up to (steps, ...); None stays None."""
    return None if array is None else tf.pad(array, [[0, steps - array.shape[0]]] + [[0, 0]] * (len(array.shape) - 1))


def compile_steps(step, logs, steps, xla, shapes=()):
    """A function that takes the batches of up to `steps` steps, a structure of tensors (n, batch, ...), and learns.

    Args:
        step: function of one batch, which updates the model and its metrics.
        logs: function without arguments that gives the metrics, a dict of scalars.
        steps: how many steps the program is compiled for.
        xla: whether XLA compiles it.
        shapes: of batches for which it is compiled at once, where there are several.
    Returns:
        A function of the batches: the metrics after each step, a dict of arrays (n,).
    """

    def program(batches, count):
        def body(i, history):
            step(keras.tree.map_structure(lambda array: None if array is None else array[i], batches))
            values = logs()
            return i + 1, {name: array.write(i, values[name]) for name, array in history.items()}

        with compiled_by_xla(xla):
            history = {name: tf.TensorArray("float32", steps) for name in logs()}
            _, history = tf.while_loop(lambda i, _: i < count, body, (0, history), parallel_iterations=1)
        return {name: array.stack() for name, array in history.items()}

    compiled = tf.function(program, jit_compile=xla, autograph=False)
    if xla and len(shapes) > 1:
        compile_for(compiled, shapes)

    def run(batches):
        count = shapes_of(batches)[0][0]
        if 1 < count < steps:  # filled up, so that one program serves; a single batch, often a short one, has its own
            batches = keras.tree.map_structure(lambda array: fill(array, steps), batches)
        return {name: values.numpy()[:count] for name, values in compiled(batches, tf.constant(count)).items()}

    return run


def compile_for(compiled, shapes):
    """Have XLA compile the program for some shapes at the same time, which takes little longer than for one."""
    nothing = [(tf.zeros(shape), tf.constant(0)) for shape in shapes]
    for batches, count in nothing:  # traced here, since what Keras keeps for a thread is known in this one
        compiled.get_concrete_function(batches, count)
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda arguments: compiled(*arguments), nothing))
