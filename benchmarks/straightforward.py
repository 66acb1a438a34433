"""The VAE of the first tutorial: Keras layers, and a compiled step that is called for every batch of a `tf.data` pipeline.

    python benchmarks/straightforward.py IMAGES.npy EPOCHS PICTURE.png

It trains on an array of bytes (N, 784) or (N, 28, 28), draws 100 images from the prior, and shares no code with bicoder.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

SIGMA = 0.75
LOG_2PI = float(np.log(2.0 * np.pi))


def make_networks(network):
    """Encoder and decoder."""
    if network == "mlp":
        encoder = [layers.Dense(400, "relu"), layers.Dense(40)]
        decoder = [layers.Dense(400, "relu"), layers.Dense(784)]
        return keras.Sequential([keras.Input((784,)), *encoder]), keras.Sequential([keras.Input((20,)), *decoder])
    options = {"strides": 2, "padding": "same"}
    encoder = [layers.Conv2D(n, 3, activation="relu", **options) for n in (32, 64, 128)]
    decoder = [layers.Dense(2048, "relu"), layers.Reshape((4, 4, 128))]
    decoder += [layers.Conv2DTranspose(64, 3, activation="relu", output_padding=0, **options)]
    decoder += [layers.Conv2DTranspose(32, 3, activation="relu", output_padding=1, **options)]
    decoder += [layers.Conv2DTranspose(3, 3, output_padding=1, **options)]
    encoder = keras.Sequential([keras.Input((28, 28, 3)), *encoder, layers.Flatten(), layers.Dense(100)])
    return encoder, keras.Sequential([keras.Input((50,)), *decoder])


def make_loss(encoder, decoder):
    """Function (x, eps or None) -> the mean loss of a batch."""

    def loss(x, eps=None):
        mu, log_var = tf.split(encoder(x), 2, axis=-1)
        z = mu + tf.exp(0.5 * log_var) * (tf.random.normal(tf.shape(mu)) if eps is None else eps)
        axes = tuple(range(1, len(x.shape)))
        elementwise = 0.5 * tf.square((x - decoder(z)) / SIGMA) + 0.5 * LOG_2PI + float(np.log(SIGMA))
        rate = 0.5 * tf.reduce_sum(tf.square(mu) + tf.exp(log_var) - log_var - 1.0, axis=-1)
        return tf.reduce_mean(tf.reduce_sum(elementwise, axis=axes) + rate)

    return loss


def make_step(loss, variables):
    """The compiled step: function of a batch, which updates the variables and returns the loss."""
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(variables)

    @tf.function(reduce_retracing=True)
    def step(x):
        with tf.GradientTape() as tape:
            value = loss(x)
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables, strict=True))
        return value

    return step


def pipeline(images, batch):
    """Shuffled batches."""
    data = tf.data.Dataset.from_tensor_slices(images).shuffle(len(images), seed=0)
    return data.batch(batch).prefetch(tf.data.AUTOTUNE)


def main(path, epochs, picture):
    from matplotlib import pyplot

    images = np.load(path).reshape(-1, 784).astype("float32") / 255.0
    encoder, decoder = make_networks("mlp")
    step = make_step(make_loss(encoder, decoder), encoder.trainable_variables + decoder.trainable_variables)
    data = pipeline(images, 128)
    for epoch in range(int(epochs)):
        print(f"epoch {epoch + 1}: loss {np.mean([step(x) for x in data]):.2f}", flush=True)
    generated = np.clip(decoder(tf.random.normal((100, 20))), 0.0, 1.0).reshape(10, 10, 28, 28)
    pyplot.imsave(picture, generated.transpose(0, 2, 1, 3).reshape(280, 280), cmap="gray")


if __name__ == "__main__":
    main(*sys.argv[1:])
