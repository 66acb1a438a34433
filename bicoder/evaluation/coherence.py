"""How well what a model of several views makes of some of them agrees with what they show, by labels.

The protocol is that of Shi et al. 2019 and Sutter et al. 2021: small classifiers, one for each view, say what is in the
views that the model has made, and a linear classifier what the code knows.
"""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from bicoder.data.stored.stored_images import ImageArray, StoredImages
from bicoder.distributions import Distribution
from bicoder.engine.arrays.masked import Masked, lacking, on_arrays
from bicoder.engine.arrays.portions import portions_of_examples
from bicoder.engine.programs.compiled import compiled
from bicoder.engine.tensor import Seed
from bicoder.evaluation.classifiers import BLOCK, Classifier, classifier
from bicoder.evaluation.latent_space import logistic
from bicoder.fusions import Experts, MixtureOfProducts, ProductOfExperts
from bicoder.vae import VAE
from bicoder.waiting import watched

MOST_SETS = 30  # of views that are given, but for all of them
CODES = 500  # that the linear classifier learns from
SAMPLES = 10_000  # of z ~ p(z)
LEFT_OUT = "coherence and linear accuracy are left out"

Views = tuple[str, ...]


class Labelled(NamedTuple):
    """Examples with labels: view -> (N, ...), or images (N, ...), and whole numbers (N,)."""

    views: Any
    labels: np.ndarray

    def take(self, rows: np.ndarray) -> "Labelled":
        """Those of these rows (n,)."""
        if len(rows) == len(self.labels):
            return self
        return Labelled(on_arrays(lambda array: some_of(array, rows), self.views), self.labels[rows])

    def complete(self) -> "Labelled":
        """Those that have all views."""
        found = self.take(np.flatnonzero(lacking(self.views) == 0))
        return found._replace(views={name: x.values if isinstance(x, Masked) else x for name, x in found.views.items()})

    def halves(self) -> "tuple[Labelled, Labelled]":
        """One half by chance, always the same, and the other."""
        order = np.random.default_rng(0).permutation(len(self.labels))
        return self.take(np.sort(order[: len(order) // 2])), self.take(np.sort(order[len(order) // 2 :]))


def agreement(
    vae: VAE,
    test: Labelled | None,
    training: Labelled | None,
    seed: int = 0,
    data_dir: Any = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Coherence from some views to others and of all of them together, and linear accuracy of the code.

    - From a set S of views: of the views v that are not in it, the share in which the classifier of v finds the label
      in the mean of p(x_v|z), for one z ~ q(z|x_S); the mean over v, then over the sets of a size.
    - Joint: the share of z ~ p(z) for which all classifiers find the same label.
    - Linear accuracy: that of a logistic regression of the mean of q(z|x_S), learnt from 500 codes; the mean over the
      sets of a size.

    Args:
        vae: of several views.
        test: to judge by; None without labels.
        training: to learn from; if it is None, classifiers learn from one half of the test examples, and what is judged
            is the other half.
        seed: of the samples, and of the sets if there are more than 30.
        data_dir: see `cache.data_folder`; classifiers are kept there.
        progress: whether to show how long it takes.
    Returns:
        "coherence", a dict, see docs/evaluation.md, or None, with "coherence_left_out", which says why. Every accuracy
        has its standard error over the examples.
    """
    if vae.condition is not None:
        return left_out("the model is told what the labels say")
    if test is None:
        return left_out("the test examples have no labels")
    learn, judge, source = learnt_and_judged(training, test.complete())
    codes = learn.complete()
    chosen = codes.take(np.random.default_rng(0).permutation(len(codes.labels))[:CODES])
    if len(np.unique(chosen.labels)) < 2 or not len(judge.labels):
        return left_out("there are not two classes of examples that have all views")
    known = {
        view: classifier(*of_view(learn, view), view, data_dir, progress)
        for view in vae.decoder.views
        if len(np.unique(of_view(learn, view)[1])) > 1
    }
    if len(known) < len(vae.decoder.views):
        return left_out("a view has fewer than two classes")
    judged = Judged(vae, known, judge, chosen, keras.random.SeedGenerator(seed))
    numbers = {
        "learnt_from": source,
        "examples": len(judge.labels),
        "classes": max(len(one.classes) for one in known.values()),
        "classifiers": {view: worth_of(one, judge.views[view], judge.labels) for view, one in known.items()},
        "linear_examples": len(chosen.labels),
        **judged.of_sets(sets_of_views(list(known), seed), progress),
        "joint": judged.joint(seed, progress),
    }
    return {"coherence": numbers, "coherence_left_out": None}


def learnt_and_judged(training: Labelled | None, test: Labelled) -> tuple[Labelled, Labelled, str]:
    """What is learnt from, what it is judged by, and what the former is: training examples, if there are some."""
    if training is not None:
        return training, test, "training examples"
    return *test.halves(), "one half of the test examples"


def worth_of(known: Classifier, images: ImageArray, labels: np.ndarray) -> dict[str, Any]:
    """The accuracy of a classifier on images (N, ...) and labels (N,), and what it was learnt from."""
    return accuracy(known.of(images) == labels) | {"examples": known.examples, "sha256": known.sha256}


def left_out(why: str) -> dict[str, Any]:
    """The numbers of data that have none."""
    return {"coherence": None, "coherence_left_out": f"{LEFT_OUT}: {why}"}


def of_view(examples: Labelled, view: str) -> tuple[Any, np.ndarray]:
    """The images of one view, (n, ...), of examples that have it, and their labels (n,)."""
    x, labels = examples.views[view], examples.labels
    if not isinstance(x, Masked):
        return x, labels
    there = np.flatnonzero(np.asarray(x.there).reshape(len(labels), -1).min(axis=1) > 0)
    return some_of(x.values, there), labels[there]


def some_of(images: ImageArray, rows: np.ndarray) -> ImageArray:
    """Images of these rows (n,), in a file still if they are in one."""
    return images.select(rows) if isinstance(images, StoredImages) else images[rows]


def sets_of_views(views: list[str], seed: int) -> dict[int, tuple[list[Views], int]]:
    """Size -> sets of so many of the views, by chance if there are too many, and how many there are."""
    random, most = np.random.default_rng(seed), max(1, MOST_SETS // max(1, len(views) - 1))
    few = 2 ** len(views) - 2 <= MOST_SETS
    found = {}
    for size in range(1, len(views) + 1):
        every = list(itertools.combinations(views, size))
        chosen = range(len(every)) if few else sorted(random.permutation(len(every))[:most])
        found[size] = ([every[number] for number in chosen], len(every))
    return found


def accuracy(right: np.ndarray) -> dict[str, float | None]:
    """The mean of what is right, (N,) from 0 to 1, with its standard error."""
    error = float(right.std(ddof=1) / np.sqrt(len(right))) if len(right) > 1 else None
    return {"accuracy": float(right.mean()), "standard_error": error}


class Judged:
    """What is computed once for all sets: the raw outputs of the encoder of each view, and programs.

    Args:
        vae: of several views.
        known: view -> its classifier.
        judge: examples to judge by, which have all views.
        learn: examples that the linear classifier learns from, which have all views.
        noise: of the samples of z.
    """

    def __init__(self, vae: VAE, known: dict[str, Classifier], judge: Labelled, learn: Labelled, noise: Seed) -> None:
        self.vae, self.known, self.noise, self.labels, self.learnt = vae, known, noise, judge.labels, learn.labels
        encode = compiled(vae.encoder.raw, vae)
        self.raw, self.raw_learnt = (
            joined([on_arrays(ops.convert_to_numpy, encode(vae.prepare(some))) for some in blocks(examples.views)])
            for examples in (judge, learn)
        )

    def of_sets(self, sets: dict[int, tuple[list[Views], int]], progress: bool) -> dict[str, Any]:
        """Size -> "given" and "linear", the mean over sets; of `mixture_of_products`, those of the products too."""
        ways = {"": False}
        if isinstance(self.vae.encoder.fusion, MixtureOfProducts):
            ways["_product"] = True
        total = sum(len(some) * (1 if size == 1 else len(ways)) for size, (some, _) in sets.items())
        bar = watched(range(total), "coherence of sets of views", total, progress)
        found: dict[str, dict[int, Any]] = {f"{name}{way}": {} for way in ways for name in ("given", "linear")}
        for way, alone in ways.items():
            for size, (some, count) in sets.items():
                if alone and size == 1:  # a product of one is what is given
                    continue
                results = [self.of_set(views, alone) for views, _ in zip(some, bar)]  # noqa: B905 - the bar is longer
                for place, name in enumerate(("given", "linear")):
                    right = [one for one in (result[place] for result in results) if one is not None]
                    if right:
                        sizes = {"sets": len(some), "of_sets": count}
                        found[f"{name}{way}"][size] = accuracy(np.mean(right, axis=0)) | sizes
        return found

    def of_set(self, views: Views, product: bool) -> tuple[np.ndarray | None, np.ndarray]:
        """Of each example to judge by, the share of other views in which its label is found, and that of the code."""
        raw, raw_learnt = ({view: one[view] for view in views} for one in (self.raw, self.raw_learnt))
        q = [self.posterior(some, product) for some in blocks(raw)]
        z, means = joined([one.sample(self.noise) for one in q]), joined([one.mean for one in q])
        learnt = joined([self.posterior(some, product).mean for some in blocks(raw_learnt)])
        others = [view for view in self.known if view not in views]
        right = [self.labels_of(view, z) == self.labels for view in others]
        return np.mean(right, axis=0) if right else None, logistic().fit(learnt, self.learnt).predict(
            means
        ) == self.labels

    def posterior(self, raw: dict[str, Any], product: bool) -> Distribution:
        """q(z|x of some views), or the product of all of their posteriors alone, whatever the fusion."""
        q = self.vae.encoder.from_raw(on_arrays(ops.convert_to_tensor, raw))
        return Experts(ProductOfExperts(), q.experts.of, q.experts.there).fused() if product else q

    def labels_of(self, view: str, z: np.ndarray) -> np.ndarray:
        """What the classifier of a view finds in what is made of codes (N, latent), (N,)."""
        decoder = self.vae.decoder.views[view]
        return self.known[view].of_portions(decoder(ops.convert_to_tensor(some)).mean for some in blocks(z))

    def joint(self, seed: int, progress: bool) -> dict[str, Any]:
        """The share of z ~ p(z) for which all classifiers find the same label in their view."""
        codes = ops.convert_to_numpy(self.vae.prior.sample(SAMPLES, seed))
        views = watched(self.known, "joint coherence", len(self.known), progress)
        found = np.stack([self.labels_of(view, codes) for view in views])
        return accuracy((found == found[0]).all(axis=0)) | {"samples": SAMPLES}


def blocks(x: Any) -> Iterator[Any]:
    """Examples in portions of a fixed size, so that no number depends on a batch size."""
    return portions_of_examples(x, BLOCK)


def joined(portions: list[Any]) -> Any:
    """Portions, each an array or a dict view -> array, as one."""
    first = portions[0]
    if isinstance(first, dict):
        return {name: joined([one[name] for one in portions]) for name in first}
    return np.concatenate([ops.convert_to_numpy(one) for one in portions])


def table(numbers: dict[str, Any]) -> list[str]:
    """Lines about coherence and linear accuracy, or one that says why there are none."""
    found = numbers.get("coherence")
    if found is None:
        return ["", numbers["coherence_left_out"]] if numbers.get("coherence_left_out") else []
    judged = f"the other half, {found['examples']:,}" if "half" in found["learnt_from"] else f"{found['examples']:,}"
    lines = [
        "",
        f"coherence and linear accuracy: learnt from {found['learnt_from']}, judged by {judged}; ± standard error",
    ]
    lines.append(f"{'views given':<22}{'coherence':>18}{'linear accuracy':>18}{'sets':>10}")
    ways = {"": "", "_product": " (their product)"}
    for way, words in ways.items():
        for size, one in found.get(f"linear{way}", {}).items():
            sets = f"{one['sets']} of {one['of_sets']}" if one["sets"] < one["of_sets"] else f"{one['sets']}"
            given = shown(found[f"given{way}"].get(size))
            lines.append(f"{f'{size}{words}':<22}{given:>18}{shown(one):>18}{sets:>10}")
    lines.append(f"{'none, z ~ p(z)':<22}{shown(found['joint']):>18}{'':>18}{found['joint']['samples']:>10,}")
    accuracies = ", ".join(f"{view} {shown(one)}" for view, one in found["classifiers"].items())
    return [*lines, f"accuracy of the classifiers, on the examples themselves: {accuracies}"]


def shown(number: dict[str, Any] | None) -> str:
    """An accuracy with its standard error."""
    if number is None:
        return "-"
    error = number["standard_error"]
    return f"{number['accuracy']:.3f}" + ("" if error is None else f" ±{error:.3f}")
