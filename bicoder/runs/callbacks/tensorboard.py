"""What TensorBoard shows of a training."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event, SessionLog

from bicoder.errors import ModelError
from bicoder.pictures.drawing.film import tiled_views
from bicoder.pictures.picture import Subject
from bicoder.runs.callbacks.beside import Beside
from bicoder.runs.callbacks.watched import LARGEST, Watched
from bicoder.runs.folder import EVENTS, LOG, log_folders

if TYPE_CHECKING:
    from bicoder.runs.state import Logs, TrainingState

START = ".start"
TIMES = 10  # images of one name that TensorBoard shows, unless it is told another number


class TensorBoard(Beside, keras.callbacks.TensorBoard):
    """Keras' own callback, which writes the numbers of each epoch; with images of some epochs.

    They are those of a film: test images with their reconstructions below, and new images from the same noise. As in
    Keras, the first epoch is step 0. It must come before the `TrainingState`, so that no epoch of a checkpoint is
    missing here.

    Args:
        subject: the model and the test images.
        folder: `Path` of the run folder.
        epochs: of the training, in all.
        every: epochs from one set of images to the next; None for up to ten sets in all.
    Raises:
        ModelError: the folders cannot be made.
    """

    made, place = "log", LOG

    def __init__(self, subject: Subject, folder: Path, epochs: int, every: int | None = None) -> None:
        make_folders(folder)
        super().__init__(str((folder / LOG).absolute()), write_graph=False)
        self.subject, self.epochs, self.every = subject, epochs, every or max(1, math.ceil(epochs / TIMES))
        self.watched: Watched | None = None
        self.epoch = self.last = -1  # of the numbers, and of the images

    def of(self, training: "TrainingState") -> "TensorBoard":
        super().of(training)
        self.attempt(self.begin)
        return self

    def begin(self) -> None:
        """Let the log begin, or go on."""
        go_on(self.training.run, self.training.state["epoch"])
        self.writer = tf.summary.create_file_writer(str(Path(self.log_dir) / "images"))

    # What Keras calls

    def on_train_batch_begin(self, batch: int, logs: "Logs" = None) -> None:
        """Nothing is written of steps."""

    on_train_batch_end = on_train_batch_begin

    def on_test_end(self, logs: "Logs" = None) -> None:
        """Keras would write the numbers of held-out images a second time, by steps."""

    def on_epoch_end(self, epoch: int, logs: "Logs" = None) -> None:
        self.attempt(lambda: self.write(epoch, logs))

    def on_train_end(self, logs: "Logs" = None) -> None:
        if self.model.stop_training and self.last < self.epoch:  # out of patience
            self.attempt(lambda: self.images(self.epoch))
        self.attempt(lambda: super(TensorBoard, self).on_train_end(logs))

    # What is written

    def write(self, epoch: int, logs: "Logs") -> None:
        """The numbers of an epoch, and the images if they are due, all of it on the disk."""
        self.epoch = epoch
        super().on_epoch_end(epoch, logs)
        if (epoch + 1) % self.every == 0 or epoch + 1 == self.epochs:
            self.images(epoch)
        for writer in getattr(self, "_writers", {}).values():  # else they wait for two minutes
            writer.flush()

    def images(self, epoch: int) -> None:
        """What the model makes now of the same test images and of the same noise."""
        self.last, self.watched = epoch, self.watched or Watched(self.subject)
        found, of_test = self.watched.look(), self.watched.originals
        pairs = np.stack([of_test, found["reconstructions"]], axis=1)  # of each view
        rows = {"reconstructions": pairs.reshape(-1, *of_test.shape[1:]), "samples": found["samples"]}
        with self.writer.as_default(epoch):
            for name, images in rows.items():
                tf.summary.image(name, np.asarray(tiled_views(images, LARGEST))[None])
        self.writer.flush()


def make_folders(run: Path) -> None:
    """Make the folders of the log."""
    for folder in log_folders(run):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelError(f"log: {folder} cannot be made: {error.strerror or error}") from error


def go_on(run: Path, epoch: int) -> None:
    """Say where a training goes on, if there is a log: what it has of this epoch and of later ones does not count.

    TensorBoard reads the files of a folder in the order of their names, and the first start of all is no restart to it.
    """
    for folder in log_folders(run):
        if names := sorted(path.name.removesuffix(START) for path in folder.glob(EVENTS)):
            start = Event(step=epoch, session_log=SessionLog(status=SessionLog.START))
            with tf.io.TFRecordWriter(str(folder / f"{names[-1]}{START}")) as file:
                for _ in range(2):
                    file.write(start.SerializeToString())
