"""Train a variational autoencoder on images and show what it learnt: `python train_vae.py --help`."""

import sys

from bicoder.cli.main import main

if __name__ == "__main__":
    sys.exit(main(prog="train_vae.py"))
