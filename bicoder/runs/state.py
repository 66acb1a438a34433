"""Everything that a training is made of at one moment, kept in checkpoints, so that it can go on from there."""

import csv
import io
import math
import time
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np

from bicoder.engine.programs.optimizers import build_optimizer
from bicoder.engine.step_calls import BetweenPrograms
from bicoder.errors import ModelError, NumericError
from bicoder.files.whole_file import whole_file
from bicoder.runs import checkpoints
from bicoder.runs.config import every, mapping, or_null, record
from bicoder.runs.options.kinds import Number, Whole, refuse

SHARE = 0.02  # of the time may go into checkpoints
Logs: TypeAlias = dict[str, float] | None  # what Keras tells its callbacks: name -> metric


def real(where: str, value: Any) -> None:
    """A number; a bound may be NaN or infinite."""
    if type(value) not in (int, float):
        refuse(where, "a number", value)


def row(where: str, value: Any) -> None:
    """The numbers of an epoch, and which one it is."""
    mapping(real)(where, value)
    Whole(0).check(f"{where}.epoch", value.get("epoch"))


CHECKS = {
    "epoch": Whole(0).check,
    "batch": Whole(0).check,
    "history": every(row, "a list of epochs"),
    "seconds": Number("a number from 0", 0.0).check,
    "best": or_null(real),
}
STATE = record(CHECKS, required=CHECKS)


class TrainingState(BetweenPrograms):
    """Keeps the state of a training, and takes it up again.

    It is all that decides how a training goes on: the variables of the model (with the state of its noise and of its
    schedules), of its metrics and of the optimizer, the best weights so far, the epoch and the batch in it. The order
    of the images follows from seed and epoch. metrics.csv is written anew after each epoch, from what the checkpoint
    holds too.

    Args:
        run: `Path` of the run folder.
        metrics: name of the CSV file in it.
        steps: batches in an epoch.
        best: True to end with the weights of the best unweighted bound, `val_elbo`, on the images for validation.
        every: epochs between two checkpoints; None for as often as takes 2 % of the time.
        patience: training ends after so many epochs without a better `val_elbo`; None for never.
        writes: False if another host writes what is kept.
    """

    def __init__(
        self,
        run: Path,
        metrics: str,
        steps: int,
        best: bool = False,
        every: int | None = None,
        patience: int | None = None,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self.run, self.metrics, self.steps, self.every, self.patience = run, metrics, steps, every, patience
        self.writes = writes
        self.state: dict[str, Any] = {"epoch": 0, "batch": 0, "history": [], "seconds": 0.0, "best": None}
        self.best: dict[str, Any] | None = {} if best else None  # name -> array, once there are some
        self.partial: list[np.ndarray] | None = None  # values of the metrics, if an epoch goes on in its middle
        self.first_step = 0
        self.unsaved = False
        self.saved, self.took = time.perf_counter(), 0.0
        self.began: float | None = None

    # What there is to keep

    def variables(self) -> dict[str, "keras.Variable"]:
        """name -> variable, of all that a checkpoint holds."""
        groups = {
            "model": self.model.variables,
            "metrics": self.model.metrics_variables,
            "optimizer": self.model.optimizer.variables,
        }
        return {f"{group}/{i:04d}": v for group, members in groups.items() for i, v in enumerate(members)}

    def resume(self, model: keras.Model, epochs: int) -> str:
        """Take up the newest checkpoint of the run, if there is one; says in words what is left of `epochs`."""
        self.set_model(model)
        build_optimizer(model)
        variables = self.variables()
        shapes = {name: tuple(v.shape) for name, v in variables.items()}
        if self.best is not None:
            shapes |= {f"best/{name}": shape for name, shape in shapes.items() if name.startswith("model/")}
        found = checkpoints.load(self.run, shapes, self.check)
        if found is None:
            return "no checkpoint was saved; training begins again"
        arrays, self.state = found
        for name, variable in variables.items():
            variable.assign(arrays[name])
        self.partial = [arrays[name] for name in variables if name.startswith("metrics/")]
        if self.best is not None:
            self.best = {name: arrays[f"best/{name}"] for name in variables if name.startswith("model/")}
        epoch, batch = self.state["epoch"], self.state["batch"]
        if self.is_out_of_patience():
            return f"done after {epoch} epochs, of which the last {self.patience} had no better val_elbo"
        if epoch >= epochs:
            return f"done, all {epochs} epochs; its pictures and numbers are made again"
        return f"going on after {epoch} epochs" + (f" and {batch} batches" if batch else "")

    def check(self, state: Any) -> None:
        """`ValueError` unless this is the state of such a training; it may come from anyone."""
        STATE("state", state)
        history, columns = state["history"], set(state["history"][0]) if state["history"] else set()
        if len(history) != state["epoch"] or any(row["epoch"] != number for number, row in enumerate(history)):
            refuse("state.history", f"epochs from 0 to below {state['epoch']}", [row["epoch"] for row in history])
        if any(set(row) != columns for row in history):
            refuse("state.history", "the same numbers of every epoch", history)
        if history and "val_elbo" not in columns and (self.best is not None or self.patience is not None):
            refuse("state.history", "val_elbo, by which the training chooses", sorted(columns))

    def save(self) -> None:
        """Write a checkpoint of this moment, unless another host does."""
        if not self.writes:
            return
        started = time.perf_counter()
        arrays = {name: np.asarray(variable) for name, variable in self.variables().items()}
        if not all(np.isfinite(array).all() for name, array in arrays.items() if not name.startswith("metrics/")):
            raise NumericError(
                f"weights: expected finite numbers, received others after epoch {self.state['epoch']}; try a smaller "
                f"learning rate; {self.where()}"
            )
        if self.best is not None:
            best = self.best or {name: array for name, array in arrays.items() if name.startswith("model/")}
            arrays |= {f"best/{name}": array for name, array in best.items()}
        checkpoints.save(self.run, arrays, self.state | {"seconds": self.seconds()})
        self.saved, self.unsaved = time.perf_counter(), False
        self.took = self.saved - started

    def seconds(self) -> float:
        """Training time so far, in all processes that took part."""
        return self.state["seconds"] + (0.0 if self.began is None else time.perf_counter() - self.began)

    # What Keras calls

    def on_train_begin(self, logs: Logs = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        if self.partial is not None and self.state["batch"]:
            for variable, value in zip(self.model.metrics_variables, self.partial, strict=True):
                variable.assign(value)
        self.partial = None

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        self.first_step = batch

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self.unsaved = True
        self.state["batch"] = batch + 1

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = logs or {}
        self.state |= {"epoch": epoch + 1, "batch": 0}
        self.state["history"].append({"epoch": epoch} | {name: float(value) for name, value in logs.items()})
        self.keep_best(logs)
        if self.writes:
            with whole_file(self.run / self.metrics, ModelError) as new:
                new.write_bytes(self.table().encode())
        due = time.perf_counter() - self.saved > self.took / SHARE
        if due if self.every is None else (epoch + 1) % self.every == 0:
            self.save()
        if self.is_out_of_patience():
            self.model.stop_training = True

    def on_train_end(self, logs: Logs = None) -> None:
        self.state["seconds"] = self.seconds()
        self.began = None

    # What comes of it

    def is_out_of_patience(self) -> bool:
        """Whether too many epochs went by without a better `val_elbo`; it follows from the history alone."""
        if self.patience is None or not self.state["history"]:
            return False
        bounds = np.array([row["val_elbo"] for row in self.state["history"]])
        best = int(np.argmax(np.where(np.isnan(bounds), -np.inf, bounds)))
        return len(bounds) - 1 - best >= self.patience

    def last_epoch(self, epochs: int) -> int:
        """How many epochs there are in all, of `epochs` that were asked for: those that are done if patience is out."""
        return self.state["epoch"] if self.is_out_of_patience() else epochs

    def epoch_is_over(self) -> bool:
        """Whether all batches of the epoch are done."""
        return self.state["batch"] >= self.steps

    def where(self) -> str:
        """Where the last good state is, in words."""
        there = checkpoints.numbers(self.run)
        folder = self.run / checkpoints.FOLDER
        return f"the last good state is {folder / f'{there[-1]:06d}'}" if there else "no checkpoint was saved yet"

    def keep_best(self, logs: dict[str, float]) -> None:
        """Remember the weights of the best bound; one that is no number is worse than all others."""
        if self.best is None:
            return
        bound = -math.inf if math.isnan(logs["val_elbo"]) else float(logs["val_elbo"])
        if self.state["best"] is None or bound > self.state["best"]:
            self.state["best"] = bound
            self.best = {n: np.array(v) for n, v in self.variables().items() if n.startswith("model/")}

    def use_best(self) -> None:
        """Give the model its best weights, if they were asked for."""
        variables = self.variables()
        for name, array in (self.best or {}).items():
            variables[name].assign(array)

    def history(self) -> dict[str, list[float]]:
        """name -> the values of each epoch, as Keras' `History` has them."""
        rows = self.state["history"]
        return {name: [row[name] for row in rows] for name in rows[0] if name != "epoch"} if rows else {}

    def table(self) -> str:
        """The text of metrics.csv, where epochs count from 1."""
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(self.state["history"][0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"epoch": row["epoch"] + 1} for row in self.state["history"])
        return text.getvalue()
