"""A training to watch: what the model makes of the same images and of the same noise, at about 30 moments."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bicoder.errors import decodable, first_line
from bicoder.pictures.drawing.film import Group, Strip
from bicoder.pictures.drawing.plotting import shortened
from bicoder.pictures.picture import Subject, draw
from bicoder.pictures.traversals import mean_of
from bicoder.runs.callbacks.beside import Beside
from bicoder.runs.callbacks.watched import MOST_VIEWS, Watched
from bicoder.runs.film_frames import FRAMES, Frame, next_step, read, room_for_more, save
from bicoder.runs.folder import FILM

if TYPE_CHECKING:
    from bicoder.runs.state import Logs


class Film(Beside):
    """Keeps what the model makes of fixed test images and of fixed noise, at about 30 moments of a training.

    They are closer together at the beginning, where a model changes fastest. Nothing is drawn from the generators of
    the model, so that a training with a film is the training without one. Frames are small arrays, which are written
    into the run folder each time; they become pictures at the end.

    Args:
        subject: the model and the test images.
        epochs: of the training, in all.
    """

    made, place = "film", FILM  # it must come after the `TrainingState`

    def __init__(self, subject: Subject, epochs: int) -> None:
        super().__init__()
        self.subject, self.epochs, self.frames = subject, epochs, list[Frame]()
        self.has_begun, self.due = False, 0
        self.before, self.bound = (0, 0.0), np.nan  # batches of the epoch and their mean; that of the latest batches

    # What Keras calls

    def on_train_begin(self, logs: "Logs" = None) -> None:
        if not self.has_begun:  # else it is the rest of a training whose first epoch went on in its middle
            self.has_begun = True
            self.attempt(self.begin)

    def on_epoch_begin(self, epoch: int, logs: "Logs" = None) -> None:
        batches = self.training.state["batch"]
        self.before = batches, float(self.subject.vae.elbo_metric.result()) if batches else 0.0

    def on_train_batch_end(self, batch: int, logs: "Logs" = None) -> None:
        # A metric is the mean of the epoch so far, and falls from a cliff when the next epoch begins.
        (batches, before), now = self.before, float((logs or {}).get("elbo", np.nan))
        self.bound = ((batch + 1) * now - batches * before) / (batch + 1 - batches)
        self.before = batch + 1, now
        if not np.isfinite((logs or {}).get("loss", 0.0)):  # the training ends, by `FiniteLoss`
            self.attempt(self.drawn)
        elif self.step() >= self.due:
            self.attempt(self.take)

    def on_epoch_end(self, epoch: int, logs: "Logs" = None) -> None:
        if self.model.stop_training and self.frames and self.frames[-1].step < self.step():  # out of patience
            self.attempt(self.take)

    # What is in a frame

    def step(self) -> int:
        """How many steps there have been."""
        return self.training.state["epoch"] * self.training.steps + self.training.state["batch"]

    def total(self) -> int:
        """How many steps there shall be."""
        return self.training.steps * self.epochs

    def begin(self) -> None:
        """The first frame, or those of the training that goes on."""
        self.watched = Watched(self.subject)
        if self.step():
            self.frames = self.frames_so_far()
        if self.frames:
            self.due = next_step(self.frames[-1].step, FRAMES - len(self.frames), self.total())
        else:
            self.take()

    def frames_so_far(self) -> list[Frame]:
        """The frames of the training that goes on, without those after the step from which it does; [] without any."""
        path = self.training.run / FILM
        try:
            frames, total = read(path, self.watched.originals, self.watched.look())
        except FileNotFoundError:
            reason = "expected the frames so far, received no file"
        except Exception as error:  # of damaged bytes, anything
            reason = f"not the frames of this training: {first_line(error)}"
        else:
            if known := [frame for frame in frames if frame.step <= self.step()]:
                return room_for_more(known, total, self.total())
            reason = f"expected frames up to step {self.step():,}, received later ones"
        print(f"{path}: {reason}; the film begins after {self.step():,} steps", file=sys.stderr)
        return []

    def take(self) -> None:
        """Keep this moment."""
        self.frames.append(Frame(self.step(), self.bound, self.watched.look()))
        self.due = next_step(self.step(), FRAMES - len(self.frames), self.total())
        save(self.training.run / FILM, self.frames, self.watched.originals, self.total())

    # What comes of it

    def drawn(self) -> list[Path]:
        """Draw what there is; the paths of what is drawn."""
        if not self.frames:
            return []
        return draw(dataclasses.replace(self.subject, film=self.strip), self.training.run, command="film")

    def strip(self) -> Strip:
        """What is drawn."""
        subject, views, watched = self.subject, self.subject.views, self.watched
        what, q = mean_of(subject), "q(z|x)" if watched.classes is None else "q(z|x, y)"
        noise = "z ~ p(z)" if watched.classes is None else "z ~ p(z|y), one for each class y"
        total = 0 if watched.classes is None else subject.vae.condition.known_classes
        noise += f", the first {watched.samples} of {total}" if total > watched.samples else ""
        captions = {
            "reconstructions": f"their reconstructions: {what} at the mean of {q}",
            "samples": f"new images: {what} for {noise}, from the same noise throughout",
        }
        count = len(self.frames)
        groups = [Group("test images x", np.broadcast_to(watched.originals, (count, *watched.originals.shape)))]
        groups += [Group(text, self.all_of(name)) for name, text in captions.items()]
        plane = None
        if subject.vae.latent_dim == 2:
            of = [f"view {views[0]}"] if views else []
            of += [] if watched.classes is None else [f"y = {shortened(decodable(subject.name_of(0)))}"]
            plane = Group(", ".join(["z at quantiles of N(0, I)", *of]), self.all_of("plane"))
        steps, bounds = [frame.step for frame in self.frames], [frame.bound for frame in self.frames]
        unit = "nats per example" if views else "nats per image"
        return Strip(
            subject.name, steps, bounds, unit, self.epochs, self.training.steps, views[:MOST_VIEWS], groups, plane
        )

    def all_of(self, name: str) -> np.ndarray:
        """The pictures of this name of all frames, (frames, ...)."""
        return np.stack([frame.pictures[name] for frame in self.frames])
