"""p(x|z) of what is there: of single pixels, and of views that are independent given z."""

from keras import ops

from bicoder.distributions import Distribution, sum_event
from bicoder.engine.arrays.masked import Masked
from bicoder.engine.arrays.there import values_of
from bicoder.engine.tensor import Seed, Tensor


def log_prob_there(p: Distribution, x: Tensor | Masked) -> Tensor:
    """log p(x) in nats of what is there in x, as `Distribution.log_prob` has its axes.

    Args:
        p: `Distribution`; one of independent elements if single ones are missing.
        x: (batch, ...), or `Masked`.
    """
    if not isinstance(x, Masked):
        return p.log_prob(x)
    values = values_of(x)
    if len(x.there.shape) == 1:
        log_px = p.log_prob(values)
        return ops.where(x.there > 0, log_px, ops.zeros_like(log_px))
    elementwise = p.elementwise(values)
    return sum_event(ops.where(x.there > 0, elementwise, ops.zeros_like(elementwise)), values, elementwise)


class Joint(Distribution):
    """Views that are independent given z: log p(x|z) = sum_v log p(x_v|z), over the views that there are.

    Args:
        views: view -> `Distribution`.
    """

    def __init__(self, views: dict[str, Distribution]) -> None:
        self.views = views

    def __getitem__(self, view: str) -> Distribution:
        return self.views[view]

    def __repr__(self) -> str:
        return f"Joint({', '.join(f'{view}: {p!r}' for view, p in self.views.items())})"

    @property
    def mean(self) -> dict[str, Tensor]:
        return {view: p.mean for view, p in self.views.items()}

    def sample(self, seed: Seed = None, num_samples: int | None = None) -> dict[str, Tensor]:
        # A number would give every view the same noise.
        seeds = {view: seed + i if isinstance(seed, int) else seed for i, view in enumerate(self.views)}
        return {view: p.sample(seeds[view], num_samples) for view, p in self.views.items()}

    def log_prob(self, value: dict[str, Tensor | Masked]) -> Tensor:
        return sum(log_prob_there(self.views[view], x) for view, x in value.items())
