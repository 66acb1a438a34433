"""A training to watch: what the model makes of the same images and of the same noise, at about 30 moments."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from bicoder.engine.arrays.conditioned import parted
from bicoder.engine.arrays.masked import lacking
from bicoder.engine.step_calls import BetweenPrograms
from bicoder.errors import decodable, first_line
from bicoder.evaluation.paths import all_over, normal_quantiles
from bicoder.pictures.drawing.film import Group, Strip, small
from bicoder.pictures.drawing.plotting import shortened
from bicoder.pictures.picture import Subject, draw
from bicoder.pictures.traversals import decoded, mean_of, originals, some_examples
from bicoder.priors import draw_codes
from bicoder.runs.film_frames import FRAMES, Frame, next_step, read, room_for_more, save
from bicoder.runs.folder import FILM

if TYPE_CHECKING:
    from bicoder.runs.state import Logs, TrainingState

ACROSS, NARROW = 10, 20  # images beside each other, of one or two views and of more, which are smaller
MOST_VIEWS = 5
SIDE = 10  # codes of the plane in each direction
LARGEST, LARGEST_OF_PLANE = 64, 32  # pixels of an image as it is kept, at most, in each direction


class Film(BetweenPrograms):
    """Keeps what the model makes of fixed test images and of fixed noise, at about 30 moments of a training.

    They are closer together at the beginning, where a model changes fastest. Nothing is drawn from the generators of
    the model, so that a training with a film is the training without one. Frames are small arrays, which are written
    into the run folder each time; they become pictures at the end.

    Args:
        subject: the model and the test images.
        epochs: of the training, in all.
    Attributes:
        training: the `TrainingState`, known before the training begins; this callback must come after it.
    """

    training: "TrainingState"

    def __init__(self, subject: Subject, epochs: int) -> None:
        super().__init__()
        self.subject, self.epochs, self.frames = subject, epochs, list[Frame]()
        self.is_over, self.has_begun, self.due = False, False, 0
        self.before, self.bound = (0, 0.0), np.nan  # batches of the epoch and their mean; that of the latest batches

    def of(self, training: "TrainingState") -> "Film":
        """This film, of a training that begins."""
        self.training = training
        return self

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

    def attempt(self, action: Callable[[], Any]) -> None:
        """Do something for the film: what goes wrong there ends the film, and not the training."""
        if self.is_over:
            return
        try:
            action()
        except Exception as error:  # of a disk that is full, and of networks, anything
            self.is_over = True
            said = f"{type(error).__name__}: {first_line(error)}"
            print(f"{self.training.run / FILM}: the film ends here: {said}", file=sys.stderr)

    def begin(self) -> None:
        """The first frame, or those of the training that goes on."""
        subject, condition = self.subject, self.subject.vae.condition
        across = ACROSS if len(subject.views) < 3 else NARROW
        self.numbers = one_of_each_class(subject, across)
        classes = None if condition is None else np.arange(condition.known_classes)
        self.classes = None if classes is None else classes[:across].astype("float32")
        self.samples = across if self.classes is None else len(self.classes)
        self.x, self.originals = subject.taken(self.numbers), self.stacked(originals(subject, self.numbers))
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
            frames, total = read(path, self.originals, self.look())
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
        self.frames.append(Frame(self.step(), self.bound, self.look()))
        self.due = next_step(self.step(), FRAMES - len(self.frames), self.total())
        save(self.training.run / FILM, self.frames, self.originals, self.total())

    def look(self) -> dict[str, np.ndarray]:
        """What the model makes now of the test images and of the noise, as `Frame` has it."""
        vae, count = self.subject.vae, len(self.numbers)
        prior = vae.prior_given(vae.known_condition(self.classes, self.samples))
        codes = [vae.encode(self.x).mean, draw_codes(prior, self.samples, self.subject.seed)]
        told: Any = None if self.classes is None else [np.asarray(parted(self.x)[1]), self.classes]
        if vae.latent_dim == 2:
            line = normal_quantiles(SIDE).astype("float32")
            codes.append(all_over(line, line))
            told = told and [*told, np.zeros(SIDE * SIDE, "float32")]
        z = np.concatenate([ops.convert_to_numpy(some) for some in codes])
        images = decoded(self.subject, z, None if told is None else np.concatenate(told))
        ends = count, count + self.samples
        found = {
            "reconstructions": self.stacked({view: one[: ends[0]] for view, one in images.items()}),
            "samples": self.stacked({view: one[ends[0] : ends[1]] for view, one in images.items()}),
        }
        if vae.latent_dim == 2:
            found["plane"] = small(next(iter(images.values()))[ends[1] :], LARGEST_OF_PLANE)[None]
        return found

    def stacked(self, images: dict[str, np.ndarray]) -> np.ndarray:
        """The images of all views that are shown, (views, n, height, width[, 3]), as they are kept."""
        return np.stack([small(one, LARGEST) for one in list(images.values())[:MOST_VIEWS]])

    # What comes of it

    def drawn(self) -> list[Path]:
        """Draw what there is; the paths of what is drawn."""
        if not self.frames:
            return []
        return draw(dataclasses.replace(self.subject, film=self.strip), self.training.run, command="film")

    def strip(self) -> Strip:
        """What is drawn."""
        subject, views = self.subject, self.subject.views
        what, q = mean_of(subject), "q(z|x)" if self.classes is None else "q(z|x, y)"
        noise = "z ~ p(z)" if self.classes is None else "z ~ p(z|y), one for each class y"
        total = 0 if self.classes is None else subject.vae.condition.known_classes
        noise += f", the first {self.samples} of {total}" if total > self.samples else ""
        captions = {
            "reconstructions": f"their reconstructions: {what} at the mean of {q}",
            "samples": f"new images: {what} for {noise}, from the same noise throughout",
        }
        count = len(self.frames)
        groups = [Group("test images x", np.broadcast_to(self.originals, (count, *self.originals.shape)))]
        groups += [Group(text, self.all_of(name)) for name, text in captions.items()]
        plane = None
        if subject.vae.latent_dim == 2:
            of = [f"view {views[0]}"] if views else []
            of += [] if self.classes is None else [f"y = {shortened(decodable(subject.name_of(0)))}"]
            plane = Group(", ".join(["z at quantiles of N(0, I)", *of]), self.all_of("plane"))
        steps, bounds = [frame.step for frame in self.frames], [frame.bound for frame in self.frames]
        unit = "nats per example" if views else "nats per image"
        return Strip(
            subject.name, steps, bounds, unit, self.epochs, self.training.steps, views[:MOST_VIEWS], groups, plane
        )

    def all_of(self, name: str) -> np.ndarray:
        """The pictures of this name of all frames, (frames, ...)."""
        return np.stack([frame.pictures[name] for frame in self.frames])


def one_of_each_class(subject: Subject, count: int) -> np.ndarray:
    """The numbers of some test images by chance: of as many classes as possible, in their order, if there are labels.

    Of several views, they are of those examples that have all of them, if there are any.
    """
    order = some_examples(subject)
    if subject.views:
        whole = lacking(parted(subject.images)[0])[order] == 0
        order = order[whole] if whole.any() else order
    if subject.labels is None:
        return order[:count]
    labels, seen, rank = subject.labels[order], Counter[int](), []
    for label in labels.tolist():
        rank.append(seen[label])
        seen[label] += 1
    chosen = np.lexsort((labels, rank))[:count]
    return order[chosen[np.argsort(labels[chosen], kind="stable")]]
