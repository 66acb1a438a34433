"""The same VAE as others would write it: PyTorch, torch.compile, JAX, pythae. It runs in their environment."""

import os
import tempfile

import numpy as np
from side import LEARNING_RATE, SIGMA, constant, serve


def mirrored(network, weights):
    """The weights for PyTorch, whose padding of a stride is at the other edge: it sees all images turned by 180 degrees."""
    if network == "mlp":
        return [np.ascontiguousarray(w.T) for w in weights]
    turned = []
    for w in weights:
        if w.ndim == 4:  # (height, width, in, out), and (height, width, out, in) of a transpose
            w = w[::-1, ::-1].transpose(3, 2, 0, 1)
        elif w.shape[0] == 2048:
            w = w.reshape(4, 4, 128, -1)[::-1, ::-1].transpose(3, 2, 0, 1).reshape(-1, 2048)
        elif w.shape[-1] == 2048:
            w = w.reshape(-1, 4, 4, 128)[:, ::-1, ::-1].transpose(3, 1, 2, 0).reshape(2048, -1).squeeze()
        turned.append(np.ascontiguousarray(w.T if w.ndim == 2 and 2048 not in w.shape else w))
    return turned


def turned(images):
    """Images as PyTorch wants them, (N, channels, height, width), turned as the weights are."""
    return images if images.ndim == 2 else np.ascontiguousarray(images[:, ::-1, ::-1].transpose(0, 3, 1, 2))


def torch_encoder(network, parameters, x):
    """mu and log(sigma^2)."""
    import torch.nn.functional as F

    w = parameters
    if network == "mlp":
        h = F.linear(F.relu(F.linear(x, w[0], w[1])), w[2], w[3])
    else:
        for i in (0, 2, 4):
            x = F.relu(F.conv2d(x, w[i], w[i + 1], stride=2, padding=1))
        h = F.linear(x.flatten(1), w[6], w[7])
    return h.chunk(2, dim=-1)


def torch_decoder(network, parameters, z):
    """The mean of p(x|z)."""
    import torch.nn.functional as F

    w = parameters
    if network == "mlp":
        return F.linear(F.relu(F.linear(z, w[4], w[5])), w[6], w[7])
    x = F.relu(F.linear(z, w[8], w[9])).view(-1, 128, 4, 4)
    x = F.relu(F.conv_transpose2d(x, w[10], w[11], stride=2, padding=1))
    x = F.relu(F.conv_transpose2d(x, w[12], w[13], stride=2, padding=1, output_padding=1))
    return F.conv_transpose2d(x, w[14], w[15], stride=2, padding=1, output_padding=1)


class Torch:
    """Eager, with the fused Adam; the images are one tensor, in a new order every epoch."""

    def __init__(self, network, images, weights, batch):
        import torch

        self.torch, self.batch = torch, batch
        torch.manual_seed(0)
        self.images = torch.from_numpy(turned(images))
        parameters = [torch.nn.Parameter(torch.from_numpy(w)) for w in mirrored(network, weights)]
        self.optimizer = torch.optim.Adam(parameters, LEARNING_RATE, fused=True)
        lost = constant(images)

        def loss(x, eps=None):
            mu, log_var = torch_encoder(network, parameters, x)
            z = mu + torch.exp(0.5 * log_var) * (torch.randn_like(mu) if eps is None else eps)
            mean = torch_decoder(network, parameters, z)
            distortion = ((x - mean).square().sum() * (0.5 / SIGMA**2)) / len(x) + lost
            return distortion + 0.5 * (mu.square() + log_var.exp() - log_var - 1.0).sum() / len(x)

        self.objective = self.compiled(loss)

    def compiled(self, loss):
        return loss

    def loss(self, x, eps):
        return self.objective(self.torch.from_numpy(turned(x)), self.torch.from_numpy(eps)).item()

    def epoch(self):
        order, total = self.torch.randperm(len(self.images)), 0.0
        for indices in order.split(self.batch):
            self.optimizer.zero_grad()
            loss = self.objective(self.images[indices])
            loss.backward()
            self.optimizer.step()
            total += loss.detach() * len(indices)
        return total.item() / len(self.images)


class TorchCompile(Torch):
    """The same, with forward and backward pass compiled."""

    def compiled(self, loss):
        return self.torch.compile(loss, dynamic=False)


class Pythae:
    """pythae's own model and trainer, with the contract's networks and likelihood given to it."""

    def __init__(self, network, images, weights, batch):
        import torch
        from pythae.data.datasets import BaseDataset
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder
        from pythae.trainers import BaseTrainer, BaseTrainerConfig

        self.torch, lost = torch, constant(images)
        arrays = mirrored(network, weights)
        half = 4 if network == "mlp" else 8

        class Encoder(BaseEncoder):
            def __init__(self):
                super().__init__()
                self.w = torch.nn.ParameterList([torch.from_numpy(w) for w in arrays[:half]])

            def forward(self, x):
                mu, log_var = torch_encoder(network, list(self.w), x)
                return ModelOutput(embedding=mu, log_covariance=log_var)

        class Decoder(BaseDecoder):
            def __init__(self):
                super().__init__()
                self.w = torch.nn.ParameterList([torch.from_numpy(w) for w in arrays[half:]])

            def forward(self, z):
                return ModelOutput(reconstruction=torch_decoder(network, [None] * half + list(self.w), z))

        class Gaussian(VAE):
            eps = None

            def _sample_gauss(self, mu, std):
                if self.eps is None:
                    return super()._sample_gauss(mu, std)
                return mu + self.eps * std, self.eps

            def loss_function(self, recon_x, x, mu, log_var, z):
                distortion = (recon_x - x).square().flatten(1).sum(dim=-1) * (0.5 / SIGMA**2) + lost
                rate = -0.5 * torch.sum(1 + log_var - mu.pow(2) - log_var.exp(), dim=-1)
                return (distortion + rate).mean(dim=0), distortion.mean(dim=0), rate.mean(dim=0)

        config = VAEConfig(input_dim=turned(images).shape[1:], latent_dim=arrays[half].shape[1])
        self.model = Gaussian(config, Encoder(), Decoder())
        data = torch.from_numpy(turned(images))
        settings = BaseTrainerConfig(
            tempfile.mkdtemp(), batch, num_epochs=1, learning_rate=LEARNING_RATE, no_cuda=True, seed=0
        )
        self.trainer = BaseTrainer(self.model, BaseDataset(data, torch.zeros(len(data))), training_config=settings)
        self.trainer.prepare_training()

    def loss(self, x, eps):
        self.model.eps = self.torch.from_numpy(eps)
        loss = self.model({"data": self.torch.from_numpy(turned(x))}).loss.item()
        self.model.eps = None
        return loss

    def epoch(self):
        return self.trainer.train_step(1)


class Jax:
    """One jitted program for the epoch, with `lax.scan` over its full batches, and one for the rest."""

    def __init__(self, network, images, weights, batch):
        import jax

        self.jax, self.batch, self.network = jax, batch, network
        self.images, self.constant = jax.device_put(images), constant(images)
        self.weights = [jax.device_put(w) for w in weights]
        zeros = [jax.numpy.zeros_like(w) for w in self.weights]
        self.state = (self.weights, zeros, [z + 0.0 for z in zeros], jax.numpy.zeros(()))
        self.key = jax.random.key(0)
        self.program = jax.jit(self.run, donate_argnums=(0,))

    def networks(self, w, x, eps):
        """mu, log(sigma^2) and the mean of p(x|z)."""
        jax, relu = self.jax, self.jax.nn.relu
        if self.network == "mlp":
            mu, log_var = self.jax.numpy.split(relu(x @ w[0] + w[1]) @ w[2] + w[3], 2, axis=-1)
            z = mu + jax.numpy.exp(0.5 * log_var) * eps
            return mu, log_var, relu(z @ w[4] + w[5]) @ w[6] + w[7]
        layout = ("NHWC", "HWIO", "NHWC")
        for i in (0, 2, 4):
            x = relu(jax.lax.conv_general_dilated(x, w[i], (2, 2), "SAME", dimension_numbers=layout) + w[i + 1])
        mu, log_var = self.jax.numpy.split(x.reshape(len(x), -1) @ w[6] + w[7], 2, axis=-1)
        z = mu + jax.numpy.exp(0.5 * log_var) * eps
        x = relu(z @ w[8] + w[9]).reshape(-1, 4, 4, 128)
        for i, pads in ((10, (1, 1)), (12, (2, 1)), (14, (2, 1))):
            kernel = w[i][::-1, ::-1].transpose(0, 1, 3, 2)
            x = jax.lax.conv_general_dilated(x, kernel, (1, 1), [pads] * 2, (2, 2), dimension_numbers=layout) + w[i + 1]
            x = relu(x) if i < 14 else x
        return mu, log_var, x

    def objective(self, w, x, eps):
        mu, log_var, mean = self.networks(w, x, eps)
        distortion = self.jax.numpy.square(x - mean).sum() * (0.5 / SIGMA**2) / len(x) + self.constant
        return distortion + 0.5 * (mu**2 + self.jax.numpy.exp(log_var) - log_var - 1.0).sum() / len(x)

    def step(self, state, images, indices, key):
        jax = self.jax
        w, m, v, t = state
        latent = self.weights[-8].shape[0] if self.network == "conv" else self.weights[4].shape[0]
        eps = jax.random.normal(key, (len(indices), latent))
        loss, gradients = jax.value_and_grad(self.objective)(w, images[indices], eps)
        t = t + 1.0
        rate = LEARNING_RATE * jax.numpy.sqrt(1.0 - 0.999**t) / (1.0 - 0.9**t)
        m = [0.9 * a + 0.1 * g for a, g in zip(m, gradients, strict=True)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(v, gradients, strict=True)]
        w = [p - rate * a / (jax.numpy.sqrt(b) + 1e-7) for p, a, b in zip(w, m, v, strict=True)]
        return (w, m, v, t), loss

    def run(self, state, images, key):
        jax = self.jax
        order_key, noise = jax.random.split(key)
        order = jax.random.permutation(order_key, len(images))
        full = len(images) // self.batch
        batches = order[: full * self.batch].reshape(full, self.batch)
        keys = jax.random.split(noise, full + 1)
        state, losses = jax.lax.scan(lambda s, b: self.step(s, images, *b), state, (batches, keys[:full]))
        total = losses.sum() * self.batch
        rest = order[full * self.batch :]
        if len(rest):
            state, loss = self.step(state, images, rest, keys[full])
            total = total + loss * len(rest)
        return state, total / len(images)

    def loss(self, x, eps):
        return self.objective(self.state[0], x, eps)

    def epoch(self):
        self.key, key = self.jax.random.split(self.key)
        self.state, loss = self.program(self.state, self.images, key)
        return self.jax.block_until_ready((self.state, loss))[1]


class Likelihood:
    """The importance-weighted log p(x) of all images by a plain loop, as many samples at a time as `batch` says."""

    samples, block = 5000, 100

    def __init__(self, network, images, weights, batch):
        import torch

        self.torch, self.network, self.portion = torch, network, batch
        self.images, self.constant = torch.from_numpy(turned(images)), constant(images)
        self.weights = [torch.from_numpy(w) for w in mirrored(network, weights)]

    def epoch(self):
        torch = self.torch
        with torch.inference_mode():
            return -sum(self.log_likelihood(x).sum() for x in self.images.split(self.block)) / len(self.images)

    def log_likelihood(self, x):
        torch, parts = self.torch, []
        mu, log_var = torch_encoder(self.network, self.weights, x)
        for _ in range(0, self.samples, self.portion):
            eps = torch.randn(self.portion, *mu.shape)
            z = mu + torch.exp(0.5 * log_var) * eps
            mean = torch_decoder(self.network, self.weights, z.flatten(0, 1)).view(self.portion, *x.shape)
            log_px = -(x - mean).square().sum(-1) * (0.5 / SIGMA**2) - self.constant
            log_ratio = 0.5 * (eps.square() + log_var - z.square()).sum(-1)  # log p(z) - log q(z|x)
            parts.append(torch.logsumexp(log_px + log_ratio, 0))
        return torch.logsumexp(torch.stack(parts), 0) - np.log(self.samples)


SIDES = {
    "torch": Torch,
    "torch_compile": TorchCompile,
    "pythae": Pythae,
    "jax": Jax,
    "torch_nll": Likelihood,
}

if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    serve(SIDES)
