"""What runs on TensorFlow: `VAE.fit`, the same with parts left out, Keras used plainly, and matrix products alone."""

import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from side import LEARNING_RATE, serve
from straightforward import make_loss, make_networks, make_step, pipeline

from bicoder import VAE, distributions, evaluate
from bicoder.data.pixels import Scaling
from bicoder.data.stored.stored_images import StoredImages
from bicoder.engine.batches import Batches
from bicoder.engine.programs.slices import one_thread_each
from bicoder.engine.programs.tensorflow_steps import STEPS, batch_of, uses_xla
from bicoder.evaluation.latent_space import tsne


def set_weights(variables, weights):
    """Give the variables of a model the weights that all sides begin with."""
    for variable, value in zip(variables, weights, strict=True):
        variable.assign(value)


class Ours:
    """`VAE.fit`, as a user calls it; for convolutions with one thread for each operation, as `train_vae.py` has it."""

    own_threads = False

    def __init__(self, network, images, weights, batch):
        if network == "conv" and not self.own_threads:
            one_thread_each(batch)
        self.vae = VAE(seed=0)
        self.vae.build((None, *images.shape[1:]))
        set_weights(self.vae.trainable_variables, weights)
        self.vae.compile(self.optimizer())
        self.batches = Batches(images, batch, 0)
        self.data = self.batches.dataset()

    def optimizer(self):
        return keras.optimizers.Adam(LEARNING_RATE)

    def loss(self, x, eps):
        q = self.vae.encoder(x)
        z = q.mean + q.scale * eps
        return tf.reduce_mean(-self.vae.objective.bound(self.vae.terms(x, z[None], q, q.log_prob(z[None]))))

    def epoch(self):
        return -self.vae.fit(self.data, verbose=0).history["elbo"][-1]


class OwnThreads(Ours):
    """The same where nobody told TensorFlow how many threads an operation has."""

    own_threads = True


class WithoutKeras(Ours):
    """The compiled program alone: no callbacks, no loop of Keras around it."""

    def epoch(self):
        steps = self.vae.programs
        steps.prepare(self.vae, self.batches)
        for group in self.batches.groups(steps.count, steps.chooses):
            steps.train(group)


class WithoutNoise(Ours):
    """z is the mean of q(z|x) plus its standard deviation times zero."""

    def __init__(self, *args):
        distributions.normal = lambda shape, seed=None: tf.zeros(shape)
        super().__init__(*args)


class WithoutAdam(Ours):
    """Plain gradient descent, which has no moments to read and write."""

    def optimizer(self):
        return keras.optimizers.SGD(1e-5)


class BatchesOnly(Ours):
    """The batches are gathered, and nothing is learnt from them."""

    def epoch(self):
        for group in self.batches.groups(STEPS, uses_xla(self.vae)):
            for batches, count in group:
                batch_of(batches, count - 1)[-1].numpy()


class Streamed(Ours):
    """The same, from images that stay in a file."""

    def __init__(self, network, images, weights, batch):
        self.file = tempfile.NamedTemporaryFile()  # noqa: SIM115
        images.tofile(self.file)
        super().__init__(network, images, weights, batch)
        self.batches = Batches(StoredImages(self.file.name, 0, "<f4", images.shape, Scaling(1, False)), batch, 0)
        self.data = self.batches.dataset()


class Bfloat16(Ours):
    """The same, with networks that compute in half of the bits."""

    def __init__(self, *args):
        keras.config.set_dtype_policy("mixed_bfloat16")
        super().__init__(*args)


class KerasFit:
    """A `keras.Model` with a `train_step` of its own, and `fit` from a `tf.data` pipeline."""

    def __init__(self, network, images, weights, batch):
        encoder, decoder = make_networks(network)
        objective = make_loss(encoder, decoder)

        class Plain(keras.Model):
            def __init__(self):
                super().__init__()
                self.encoder, self.decoder = encoder, decoder
                self.tracker = keras.metrics.Mean(name="loss")

            @property
            def metrics(self):
                return [self.tracker]

            def train_step(self, x):
                with tf.GradientTape() as tape:
                    loss = objective(x)
                gradients = tape.gradient(loss, self.trainable_weights)
                self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
                self.tracker.update_state(loss)
                return {"loss": self.tracker.result()}

        self.model, self.objective = Plain(), objective
        set_weights(encoder.trainable_variables + decoder.trainable_variables, weights)
        # XLA, which Keras chooses by itself, has slow convolutions on a CPU.
        self.model.compile(keras.optimizers.Adam(LEARNING_RATE), jit_compile="auto" if network == "mlp" else False)
        self.data = pipeline(images, batch)

    def loss(self, x, eps):
        return self.objective(x, eps)

    def epoch(self):
        return self.model.fit(self.data, verbose=0).history["loss"][-1]


class Straightforward:
    """The step of straightforward.py, called for every batch."""

    def __init__(self, network, images, weights, batch):
        encoder, decoder = make_networks(network)
        variables = encoder.trainable_variables + decoder.trainable_variables
        set_weights(variables, weights)
        self.loss = make_loss(encoder, decoder)
        self.step, self.data = make_step(self.loss, variables), pipeline(images, batch)

    def epoch(self):
        return np.mean([loss.numpy() for loss in [self.step(x) for x in self.data]])


class NumpyProducts:
    """The matrix products of one epoch of the MLP in NumPy: forward, and the gradients of weights and inputs."""

    def __init__(self, network, images, weights, batch):
        self.steps = -(-len(images) // batch)
        rng, self.products = np.random.default_rng(0), []
        for i, w in enumerate(w for w in weights if w.ndim == 2):
            x, dy = rng.random((batch, w.shape[0]), "float32"), rng.random((batch, w.shape[1]), "float32")
            self.products += [(x, w), (x.T, dy)] + ([(dy, w.T)] if i else [])

    def epoch(self):
        for _ in range(self.steps):
            for a, b in self.products:
                a @ b


class XlaProducts:
    """The same products in one program that XLA compiles, as it does the steps of `VAE.fit`."""

    def __init__(self, network, images, weights, batch):
        self.steps = -(-len(images) // batch)
        self.layers = [
            (tf.constant(w), tf.random.normal((8, batch, w.shape[0])), tf.random.normal((8, batch, w.shape[1])))
            for w in weights
            if w.ndim == 2
        ]

    @tf.function(jit_compile=True, autograph=False)
    def products(self, layers):
        def body(i, total):
            for place, (w, xs, dys) in enumerate(layers):
                x, dy = xs[i % 8], dys[i % 8]  # of a batch that is always the same, there would be one product in all
                found = [tf.matmul(x, w), tf.matmul(x, dy, transpose_a=True)]
                found += [tf.matmul(dy, w, transpose_b=True)] if place else []
                total += sum(product[0, 0] for product in found)
            return i + 1, total

        return tf.while_loop(lambda i, _: i < self.steps, body, (0, 0.0), parallel_iterations=1)[1]

    def epoch(self):
        self.products(self.layers).numpy()


class TensorFlowProducts:
    """The products, and the convolutions with their gradients, of one epoch in TensorFlow's kernels (oneDNN)."""

    def __init__(self, network, images, weights, batch):
        self.steps, self.calls = -(-len(images) // batch), []
        shape, layer = (batch, *images.shape[1:]), self.convolution  # the encoder's; after its products, the decoder's
        for i, kernel in enumerate(tf.constant(w) for w in weights if w.ndim > 1):
            if len(kernel.shape) == 2:
                shape, layer = self.product(kernel, batch, first=i == 0), self.transpose
            else:
                shape = layer(kernel, shape, first=i == 0)

    def product(self, kernel, batch, first):
        x, dy = tf.random.normal((batch, kernel.shape[0])), tf.random.normal((batch, kernel.shape[1]))
        self.add("MatMul", a=x, b=kernel)
        self.add("MatMul", a=x, b=dy, transpose_a=True)
        if not first:
            self.add("MatMul", a=dy, b=kernel, transpose_b=True)
        # The decoder's convolutions begin with 4x4 images.
        return (batch, 4, 4, kernel.shape[1] // 16)

    def convolution(self, kernel, shape, first):
        out = (shape[0], -(-shape[1] // 2), -(-shape[2] // 2), kernel.shape[-1])
        self.layer(kernel, shape, out, ("Conv2D", "Filter") if first else ("Conv2D", "Filter", "Input"))
        return out

    def transpose(self, kernel, shape, first):
        """A transpose is the gradient of a convolution, from the larger image to the smaller one."""
        side = {4: 7, 7: 14, 14: 28}[shape[1]]
        out = (shape[0], side, side, kernel.shape[2])
        self.layer(kernel, out, shape, ("Input", "Filter", "Conv2D"))
        return out

    def layer(self, kernel, large, small, parts):
        x, dy = tf.random.normal(large), tf.random.normal(small)
        options = {"strides": [1, 2, 2, 1], "padding": "SAME"}
        if "Conv2D" in parts:
            self.add("Conv2D", input=x, filter=kernel, **options)
        if "Filter" in parts:
            self.add("Conv2DBackpropFilter", input=x, filter_sizes=kernel.shape, out_backprop=dy, **options)
        if "Input" in parts:
            self.add("Conv2DBackpropInput", input_sizes=large, filter=kernel, out_backprop=dy, **options)

    def add(self, name, **arguments):
        self.calls.append((getattr(tf.raw_ops, name), arguments))

    def epoch(self):
        for _ in range(self.steps):
            for operation, arguments in self.calls:
                last = operation(**arguments)
        last.numpy()


class Likelihood(Ours):
    """`evaluate` with 5000 importance samples, which computes other numbers too."""

    def __init__(self, network, images, weights, batch):
        super().__init__(network, images, weights, batch)
        self.images = images

    def epoch(self):
        return evaluate(self.vae, self.images, num_samples=5000)["nll"]


class OurTSNE:
    """`bicoder.evaluation.latent_space.tsne` of twenty numbers for each image."""

    def __init__(self, network, images, weights, batch):
        self.codes = (images @ weights[0])[:, :20]

    def epoch(self):
        tsne(self.codes)


class PlainTSNE(OurTSNE):
    """scikit-learn's, called as it is."""

    def epoch(self):
        from sklearn.manifold import TSNE

        TSNE(random_state=0).fit_transform(self.codes)


SIDES = {
    "ours": Ours,
    "own_threads": OwnThreads,
    "ours_half": Ours,
    "without_keras": WithoutKeras,
    "without_noise": WithoutNoise,
    "without_adam": WithoutAdam,
    "batches_only": BatchesOnly,
    "ours_stream": Streamed,
    "bfloat16": Bfloat16,
    "keras": KerasFit,
    "straightforward": Straightforward,
    "numpy_products": NumpyProducts,
    "xla_products": XlaProducts,
    "tensorflow_products": TensorFlowProducts,
    "ours_nll": Likelihood,
    "ours_tsne": OurTSNE,
    "plain_tsne": PlainTSNE,
}

if __name__ == "__main__":
    serve(SIDES)
