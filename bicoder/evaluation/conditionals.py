"""How well a model of several views knows each of them, from nothing and from the others."""

from functools import partial
from typing import Any

import keras
import numpy as np

from bicoder.engine.arrays.conditioned import conditioned, parted
from bicoder.engine.arrays.masked import Masked, arrays_in, lacking
from bicoder.engine.arrays.portions import portions_of_examples
from bicoder.engine.programs.compiled import compiled
from bicoder.evaluation.importance import BLOCK, PerImage, block_weights, log_mean_exp
from bicoder.vae import VAE
from bicoder.waiting import watched

MOST = 1000  # examples; each view takes as long as the joint density


def conditionals(
    vae: VAE, images: Any, per_image: PerImage, num_samples: int, seed: int, progress: bool
) -> dict[str, Any]:
    """-log p(x_v) and -log p(x_v|x_S) of each view v, S being all the others, in nats per example.

    log p(x_v|x_S) = log p(x_v, x_S) - log p(x_S), each by K samples of its own q(z|x of these views). The difference
    of two lower bounds is a bound in no direction.

    Args:
        vae: of several views.
        images: view -> (N, ...), with y of a conditional model, which all of these densities are given; examples that
            lack a view are left out, and of more than 1,000 some are taken by chance.
        per_image: what is known of each of these already: log p(x) of all views.
        num_samples: K.
        seed: of the choice and the samples.
        progress: whether to show how long it takes.
    Returns:
        "of_views", view -> "alone", "given_others" and "standard_error" of the latter; "complete_examples", how many.
        Empty if no example has all views.
    """
    images, y = parted(images)
    complete = np.flatnonzero(lacking(images) == 0)
    chosen = np.random.default_rng(seed).permutation(complete)[:MOST]
    if not len(chosen):
        return {}
    views = list(images)
    x = {view: (one.values if isinstance(one, Masked) else one)[chosen] for view, one in images.items()}
    y = None if y is None else y[chosen]
    found = {(*views,): per_image.log_likelihood[chosen], (): np.zeros(len(chosen))}  # log p of nothing is 0
    sets = {*((view,) for view in views), *(others(views, view) for view in views)} - set(found)
    for names in watched(sorted(sets), "density of views", len(sets), progress):
        noise = keras.random.SeedGenerator(seed)
        weigh = compiled(lambda some, count: vae.log_weights(some, count, noise), vae, noise)  # noqa: B023
        logs = []
        for some in portions_of_examples(conditioned({view: x[view] for view in names}, y), BLOCK):
            block = vae.prepare(some)
            size = len(arrays_in(some)[0])
            weights = block_weights(partial(weigh, block), size, vae.example_shape, num_samples, vae.prior)[0]
            logs.append(log_mean_exp(weights, axis=0))
        found[names] = np.concatenate(logs)
    known = {view: found[others(views, view)] - found[(*views,)] for view in views}
    error = {
        view: float(nats.std(ddof=1) / np.sqrt(len(nats))) if len(nats) > 1 else None for view, nats in known.items()
    }
    return {
        "of_views": {
            view: {
                "alone": float(-found[(view,)].mean()),
                "given_others": float(known[view].mean()),
                "standard_error": error[view],
            }
            for view in views
        },
        "complete_examples": len(chosen),
    }


def others(views: list[str], view: str) -> tuple[str, ...]:
    """The other views, in their order."""
    return tuple(name for name in views if name != view)


def table(numbers: dict[str, Any]) -> list[str]:
    """Lines about each view."""
    if "of_views" not in numbers:
        return []
    lines = ["", f"of each view, -log p, {numbers['complete_examples']:,} examples; given the others, it is no bound"]
    lines.append(f"{'':<22}{'alone':>16}{'given all others':>18}{'standard error':>16}")
    for view, found in numbers["of_views"].items():
        error = "-" if found["standard_error"] is None else f"{found['standard_error']:.2f}"
        lines.append(f"{view[:20]:<22}{found['alone']:>16.2f}{found['given_others']:>18.2f}{error:>16}")
    return lines
