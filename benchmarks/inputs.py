"""What all sides of the benchmark of speed read: images, weights, and a batch with its noise."""

import numpy as np

MLP = [(784, 400), (400, 40), (20, 400), (400, 784)]
CONV = [(3, 3, 3, 32), (3, 3, 32, 64), (3, 3, 64, 128), (2048, 100), (50, 2048)]
CONV += [(3, 3, 64, 128), (3, 3, 32, 64), (3, 3, 3, 32)]  # a transpose: (height, width, out, in)


class Inputs:
    """Files that all sides read: images, weights, and a batch with its noise.

    Args:
        folder: where they are written.
        args: of the program.
    """

    def __init__(self, folder, args):
        self.folder, self.args = folder, args

    def get(self, network):
        """Paths of the images, the weights and the batch of a network."""
        paths = [self.folder / f"{network}-{name}" for name in ("images.npy", "weights.npz", "batch.npz")]
        if not paths[0].exists():
            rng = np.random.default_rng(0)
            images = getattr(self, network)(rng)
            np.save(paths[0], images)
            weights = []
            for shape in MLP if network == "mlp" else CONV:
                limit = np.sqrt(6.0 / (np.prod(shape[:-2]) * (shape[-1] + shape[-2])))
                weights.append(rng.uniform(-limit, limit, shape).astype("float32"))
                transpose = len(shape) == 4 and len(weights) > 10
                weights.append(rng.uniform(-0.1, 0.1, shape[-2 if transpose else -1]).astype("float32"))
            np.savez(paths[1], **{f"w{i}": w for i, w in enumerate(weights)})
            eps = rng.standard_normal((128, 20 if network == "mlp" else 50), "float32")
            np.savez(paths[2], x=images[:128], eps=eps)
        return map(str, paths)

    def mlp(self, rng):
        """MNIST."""
        from bicoder import DataLoader

        return DataLoader("mnist_bw", data_dir=self.args.data_dir).training_images

    def conv(self, rng):
        """MNIST in colour before a coloured noise, of the shape of mnist_color."""
        grey = self.mlp(rng)[: self.args.conv_images].reshape(-1, 28, 28, 1)
        colour, ground = rng.random((2, len(grey), 1, 1, 3), "float32")
        return grey * colour + (1.0 - grey) * ground * rng.random((*grey.shape[:3], 3), "float32")
