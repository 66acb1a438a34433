"""The VAE as scikit-learn's estimators: codes and densities of tables, in pipelines, searches and processes.

Beware of pickles from others: loading one runs whatever it says. Models of strangers come as run folders, through
`bicoder.load`, which builds them from names and numbers alone.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from bicoder.errors import UsageError, check_count

ROWS = 64  # in a block; all blocks are as large, so that a row has the same numbers whatever stands beside it


class _VAEEstimator(BaseEstimator):
    """What both estimators share: fitting, log p(x), and a state without objects of Keras."""

    vae_: Any

    def __init__(
        self,
        latent_dim: int = 2,
        *,
        network: Any = "mlp",
        likelihood: Any = "optimal_gaussian",
        posterior: Any = "diagonal_gaussian",
        prior: Any = "standard_normal",
        objective: Any = "elbo",
        epochs: int = 100,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        num_samples: int = 100,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.latent_dim = latent_dim
        self.network = network
        self.likelihood = likelihood
        self.posterior = posterior
        self.prior = prior
        self.objective = objective
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.num_samples = num_samples
        self.random_state = random_state
        self.verbose = verbose

    def _fit(self, X: Any) -> np.ndarray:  # noqa: N803 - as scikit-learn calls it
        """Train a new model on rows X; what it has seen of them, float32."""
        from bicoder.engine.start import import_keras

        keras = import_keras()
        from bicoder.coders import Decoder, Encoder
        from bicoder.vae import VAE

        X = validate_data(self, X, dtype=np.float32)  # noqa: N806
        check_count("num_samples", self.num_samples)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        vae = VAE(
            Encoder(self.network, self.latent_dim, self.posterior),
            Decoder(self.network, likelihood=self.likelihood),
            prior=self.prior,
            objective=self.objective,
            seed=int(seed),
        )
        vae.may_be_pixels = False
        vae.compile(keras.optimizers.Adam(self.learning_rate))
        history = vae.fit(X, epochs=self.epochs, batch_size=self.batch_size, verbose=self.verbose)
        self.loss_curve_ = [float(loss) for loss in history.history["loss"]]
        self._take(vae)
        return X

    def _take(self, vae: Any) -> None:
        """Keep a model, and the compiled programs that it is asked by."""
        from bicoder.engine.programs.compiled import compiled

        self.vae_ = vae
        self._programs = {
            "code": compiled(lambda x: vae.encoder(x).mean, vae),
            "data": compiled(lambda z: vae.decoder(z).mean, vae),
            "score": compiled(lambda x, noise: log_likelihood(vae, x, noise), vae),
        }

    def _ask(self, name: str, rows: np.ndarray, *more: Any) -> np.ndarray:
        """What a program says of all rows, in blocks."""
        return in_blocks(lambda block: self._programs[name](block, *more), rows)

    def _checked(self, X: Any) -> np.ndarray:  # noqa: N803
        """Rows X as the fitted model takes them."""
        check_is_fitted(self, "loss_curve_")
        return validate_data(self, X, dtype=np.float32, reset=False)

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: N803
        """log p(x) of each row by importance sampling, log 1/K sum_k p(x, z_k) / q(z_k|x), K = `num_samples`.

        All rows have the same noise, so that what is said of one does not depend on those beside it, nor on when it is
        asked. It is a lower bound on average (Burda et al. 2016).

        Args:
            X: rows, (n, features).
        Returns:
            (n,), in nats of a density of the features as they are given.
        """
        X = self._checked(X)  # noqa: N806
        if not hasattr(self.vae_.encoder.distribution, "transformed"):
            expected = "posterior='diagonal_gaussian' or 'full_gaussian'"
            raise UsageError(f"score_samples: expected {expected}, received {self.posterior!r}")
        noise = np.random.default_rng(0).standard_normal((self.num_samples, 1, self.latent_dim)).astype("float32")
        return self._ask("score", X, noise).astype(np.float64)

    def __getstate__(self) -> dict[str, Any]:
        """Arguments, and of a fitted one a config and arrays; the programs are compiled anew."""
        from bicoder.runs.weights import variables

        state = dict(super().__getstate__())
        state.pop("_programs", None)
        if (vae := state.pop("vae_", None)) is not None:
            weights = {name: np.array(variable) for name, variable in variables(vae).items()}
            state["_stored"] = {"model": vae.get_config(), "input_shape": vae.example_shape, "weights": weights}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        stored = state.pop("_stored", None)
        super().__setstate__(state)
        if stored is None:
            return
        from bicoder.engine.start import import_keras

        import_keras()
        from bicoder.runs.load import build
        from bicoder.runs.weights import variables

        vae = build(stored)
        vae.may_be_pixels = False
        for name, variable in variables(vae).items():
            variable.assign(stored["weights"][name])
        self._take(vae)


def log_likelihood(vae: Any, x: Any, noise: Any) -> Any:
    """The importance-weighted estimate of log p(x), (batch,), by the same noise (K, 1, latent) for all rows."""
    from keras import ops

    q = vae.encoder(x)
    z = q.transformed(noise + ops.zeros((1, *q.mean.shape)))
    log_weights = vae.log_px(x, z) + vae.prior_given(None).log_prob(z) - q.log_prob(z)
    return ops.logsumexp(log_weights, axis=0) - math.log(noise.shape[0])


def in_blocks(function: Callable[[np.ndarray], Any], rows: np.ndarray) -> np.ndarray:
    """What a function gives for rows (n, ...), which it gets in blocks of `ROWS`, the last one filled up with zeros."""
    found = []
    for start in range(0, len(rows), ROWS):
        block = rows[start : start + ROWS]
        filled = np.zeros((ROWS, *rows.shape[1:]), "float32")
        filled[: len(block)] = block
        found.append(np.asarray(function(filled))[: len(block)])
    return np.concatenate(found)


class VAETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _VAEEstimator):
    """Codes of rows by a variational autoencoder (Kingma & Welling 2014), as scikit-learn's transformers have them.

    It maximises E_q(z|x)[log p(x|z)] - KL[q(z|x) || p(z)]; `transform` gives the mean of q(z|x). Features should be of
    one scale: put a `StandardScaler` before it in a `Pipeline`.

    Args:
        latent_dim: dimensions of z.
        network, likelihood, posterior, prior, objective: names or parts, as `VAE`, `Encoder` and `Decoder` take them.
        epochs: times that all rows are seen.
        batch_size: rows in a step.
        learning_rate: of Adam.
        num_samples: K of `score_samples`.
        random_state: int, `RandomState` or None, of weights, noise and the order of rows.
        verbose: 0, 1 or 2, as in Keras' `fit`.
    Attributes:
        vae_: the trained `VAE`.
        loss_curve_: minus the objective in each epoch, in nats for one row.
    """

    def fit(self, X: Any, y: Any = None) -> "VAETransformer":  # noqa: N803
        """Train a new model on rows X (n, features); y is ignored, as scikit-learn has it."""
        self._fit(X)
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """The means of q(z|x) of rows X (n, features): (n, latent_dim)."""
        return self._ask("code", self._checked(X))

    def inverse_transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """The means of p(x|z) for codes X (n, latent_dim): (n, features)."""
        check_is_fitted(self, "loss_curve_")
        z = check_array(X, dtype=np.float32, input_name="X")
        if z.shape[1] != self.latent_dim:
            raise UsageError(f"inverse_transform: expected codes (n, {self.latent_dim}), received {z.shape}")
        return self._ask("data", z)

    def sample(self, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Rows x ~ p(x|z) for z ~ p(z), (n_samples, features): draws from the density of `score_samples`."""
        check_is_fitted(self, "loss_curve_")
        seed = int(check_random_state(random_state).randint(2**31 - 2))
        z = self.vae_.prior.sample(check_count("n_samples", n_samples), seed)
        return np.asarray(self.vae_.decode(z).sample(seed + 1))

    def score(self, X: Any, y: Any = None) -> float:  # noqa: N803
        """The mean of `score_samples`, by which a search compares; y is ignored."""
        return float(np.mean(self.score_samples(X)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.latent_dim


class VAEOutlierDetector(OutlierMixin, _VAEEstimator):
    """Rows that a variational autoencoder finds unlikely, as scikit-learn's outlier detectors have them.

    A row is an outlier, -1, if log p(x) by importance sampling is below a quantile of the training rows' own. A high
    density is no proof: rows unlike all of training can have one (Nalisnick et al. 2019). The other arguments, and what
    is there once it is fitted, are those of `VAETransformer`.

    Args:
        contamination: share of the training rows that are outliers, in (0, 0.5].
    Attributes:
        offset_: the threshold of log p(x), in nats.
    """

    def __init__(
        self,
        latent_dim: int = 2,
        *,
        contamination: float = 0.1,
        network: Any = "mlp",
        likelihood: Any = "optimal_gaussian",
        posterior: Any = "diagonal_gaussian",
        prior: Any = "standard_normal",
        objective: Any = "elbo",
        epochs: int = 100,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        num_samples: int = 100,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            latent_dim,
            network=network,
            likelihood=likelihood,
            posterior=posterior,
            prior=prior,
            objective=objective,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            num_samples=num_samples,
            random_state=random_state,
            verbose=verbose,
        )
        self.contamination = contamination

    def fit(self, X: Any, y: Any = None) -> "VAEOutlierDetector":  # noqa: N803
        """Train a new model on rows X (n, features), and find the threshold; y is ignored."""
        if not 0.0 < self.contamination <= 0.5:
            raise UsageError(f"contamination: expected a number in (0, 0.5], received {self.contamination!r}")
        seen = self._fit(X)
        self.offset_ = float(np.percentile(self.score_samples(seen), 100.0 * self.contamination))
        return self

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """log p(x) minus the threshold, (n,), in nats: negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """1 for rows like those of training, -1 for outliers, (n,)."""
        return np.where(self.decision_function(X) < 0.0, -1, 1)
