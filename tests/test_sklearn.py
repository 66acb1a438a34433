"""The estimators of scikit-learn: its own checks, pipelines, searches, processes, and what a pickle holds."""

import io
import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from bicoder.errors import UsageError
from bicoder.sklearn import VAEOutlierDetector, VAETransformer

TINY = {"network": "mlp:hidden=[4]", "latent_dim": 1, "epochs": 2, "num_samples": 3, "random_state": 0}


@parametrize_with_checks([VAETransformer(**TINY), VAEOutlierDetector(**TINY)])
def test_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return (x / 16).astype("float32"), y


@pytest.fixture(scope="module")
def fitted(digits):
    return VAETransformer(8, network="mlp:hidden=[64]", epochs=80, random_state=0).fit(digits[0])


def test_codes_tell_digits_in_a_pipeline(digits):
    x, y = digits
    coder = VAETransformer(8, network="mlp:hidden=[64]", epochs=60, random_state=0)
    pipeline = make_pipeline(coder, StandardScaler(), LogisticRegression(max_iter=1000))
    assert pipeline.fit(x[:1000], y[:1000]).score(x[1000:], y[1000:]) > 0.8


def test_a_search_compares_by_the_density(digits):
    coder = VAETransformer(network="mlp:hidden=[32]", epochs=60, random_state=0)
    search = GridSearchCV(coder, {"latent_dim": [1, 6]}, cv=2).fit(digits[0][:800])
    assert search.best_params_ == {"latent_dim": 6}
    assert search.best_score_ == pytest.approx(search.cv_results_["mean_test_score"].max())


def test_densities_are_those_of_the_model(fitted, digits):
    """By the model's own estimate, which has other noise."""
    few = digits[0][:50]
    ours, own = fitted.set_params(num_samples=500).score_samples(few), fitted.vae_.log_likelihood(few, 500)
    assert abs(np.mean(ours - np.asarray(own))) < 0.5
    np.testing.assert_allclose(fitted.score_samples(few[7:9]), ours[7:9], rtol=1e-6)
    fitted.set_params(num_samples=100)


def test_codes_come_back_and_samples_look_like_the_data(fitted, digits):
    x = digits[0]
    again = fitted.inverse_transform(fitted.transform(x))
    assert np.mean((again - x) ** 2) < 0.5 * np.mean((x - x.mean(axis=0)) ** 2)
    drawn = fitted.sample(2000, random_state=3)
    np.testing.assert_array_equal(drawn, fitted.sample(2000, random_state=3))
    np.testing.assert_allclose(drawn.mean(axis=0), x.mean(axis=0), atol=0.15)
    np.testing.assert_allclose(drawn.std(axis=0).mean(), x.std(axis=0).mean(), rtol=0.2)
    assert list(fitted.get_feature_names_out()) == [f"vaetransformer{i}" for i in range(8)]


def test_outliers_are_found(digits):
    x, _ = digits
    found = VAEOutlierDetector(8, network="mlp:hidden=[64]", epochs=20, contamination=0.05, random_state=0).fit(x)
    assert np.mean(found.predict(x) == -1) == pytest.approx(0.05, abs=0.002)
    noise = np.random.default_rng(0).random((200, 64), "float32")
    assert np.mean(found.predict(noise) == -1) > 0.99
    np.testing.assert_array_equal(found.decision_function(noise) < 0, found.predict(noise) == -1)


@pytest.mark.parametrize("posterior", ["diagonal_gaussian", "full_gaussian"])
def test_a_pickle_is_arguments_a_config_and_arrays(posterior, digits):
    x = digits[0][:200]
    before = VAETransformer(**TINY | {"posterior": posterior, "latent_dim": 2}).fit(x)
    reader = Noting(pickle.dumps(before))
    after = reader.load()
    homes = {module.split(".")[0] for module, _ in reader.named}
    assert homes <= {"bicoder", "numpy", "builtins"}, reader.named
    assert {one for one in reader.named if one[0].startswith("bicoder")} == {("bicoder.sklearn", "VAETransformer")}
    np.testing.assert_array_equal(after.transform(x), before.transform(x))
    np.testing.assert_array_equal(after.score_samples(x), before.score_samples(x))


class Noting(pickle.Unpickler):
    """Reads a pickle, and notes the globals that it names."""

    def __init__(self, data):
        super().__init__(io.BytesIO(data))
        self.named = set()

    def find_class(self, module, name):
        self.named.add((module, name))
        return super().find_class(module, name)


def test_processes_of_joblib_use_a_fitted_one(fitted, digits):
    parts = np.array_split(digits[0][:300], 2)
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(fitted.transform)(part) for part in parts)
    np.testing.assert_allclose(np.concatenate(found), fitted.transform(digits[0][:300]), rtol=1e-5, atol=1e-6)


def test_a_clone_is_not_fitted_and_fits_the_same(fitted, digits):
    twin = clone(fitted)
    assert not hasattr(twin, "vae_")
    np.testing.assert_array_equal(twin.fit(digits[0]).transform(digits[0][:9]), fitted.transform(digits[0][:9]))


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda x: VAEOutlierDetector(**TINY, contamination=0.7).fit(x), r"contamination: expected a number in \(0, 0"),
        (lambda x: VAETransformer(**TINY | {"num_samples": 0}).fit(x), "num_samples: expected"),
        (lambda x: VAETransformer(**TINY).fit(x).inverse_transform(x), r"expected codes \(n, 1\), received \(50, 64\)"),
        (
            lambda x: VAETransformer(**TINY | {"posterior": "iaf"}).fit(x).score_samples(x),
            "score_samples: expected posterior='diagonal_gaussian'",
        ),
    ],
)
def test_what_cannot_be_is_one_line(use, message, digits):
    with pytest.raises(UsageError, match=message):
        use(digits[0][:50])
