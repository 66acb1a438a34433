"""`bicoder train`, which is `train_vae`."""

from bicoder.cli.command import command
from bicoder.runs.options.table import Options


@command
def train(options: Options) -> None:
    """Train a variational autoencoder on images, and show what it learnt.

    examples:
      python train_vae.py
          scikit-learn's 8x8 digits, no network needed: trains, draws all pictures
      python train_vae.py --dset mnist_bw --epochs 20 --visualize_latent --sigma learned
          MNIST, fetched on first use; the latent space as one picture
      python train_vae.py --dset path/to/images --image_size 64 --generate_from_prior
          a folder of image files of your own; new images from the prior
    """
    if options.hosts is not None:
        from bicoder.runs.hosts.parent import train_on_hosts

        train_on_hosts(options)
        return
    options.check_hosts()
    from bicoder.runs.train import train

    train(options)
