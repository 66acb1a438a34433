"""Reports of tiny models, as tests open them, and what Python knows of each."""

import keras
import numpy as np
import pytest
from browser import running_browser
from keras import ops
from sklearn.datasets import load_digits

from bicoder import VAE, Decoder, Encoder
from bicoder.engine.arrays.conditioned import Conditioned
from bicoder.networks import MLP
from bicoder.pictures.picture import Subject
from bicoder.pictures.report import page as report_page
from bicoder.pictures.report.facts import Facts

COUNT, LATENT, SIDE = 90, 6, 8
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DESK = 1400


class Own(keras.layers.Dense):
    """A layer that the page does not know."""


def model(latent=LATENT, shape=(SIDE * SIDE,), body=None, **parts):
    """An untrained model whose codes are as far apart as those of a trained one."""
    decoder = Decoder(MLP((12,)) if body is None else body)
    vae = VAE(Encoder(MLP((24,)), latent), decoder, seed=0, **parts)
    vae.build({view: (None, *one) for view, one in shape.items()} if isinstance(shape, dict) else (None, *shape))
    for weight in vae.encoder.trainable_variables:
        weight.assign(weight * 2.0)
    for weight in vae.decoder.trainable_variables:  # grey pictures, which are neither black nor white
        weight.assign(weight * 0.7 if len(weight.shape) > 1 else weight * 0.0 + 0.5)
    return vae


def digits():
    found = load_digits()
    return (found.data[:COUNT] / 16.0).astype("float32"), found.target[:COUNT]


def of_digits(**more):
    x, labels = digits()
    return Subject(model(), "digits", x, labels, NAMES, (SIDE, SIDE, 1), **more)


def of_a_class():
    x, labels = digits()
    return Subject(
        model(condition="labels:classes=10"),
        "digits",
        Conditioned(x, labels.astype("float32")),
        labels,
        NAMES,
        (SIDE, SIDE, 1),
    )


def of_two_views():
    x, labels = digits()
    images = {"grey": x.reshape(-1, SIDE, SIDE, 1), "colour": np.stack([x[:, :60].reshape(-1, 10, 6)] * 3, axis=-1)}
    shapes = {view: one.shape[1:] for view, one in images.items()}
    return Subject(model(shape=shapes), "views", images, labels, NAMES, shapes)


def of_an_own_layer():
    x, labels = digits()
    body = keras.Sequential([keras.layers.Dense(12, "relu"), Own(SIDE * SIDE)])
    return Subject(model(body=body), "digits", x, labels, NAMES, (SIDE, SIDE, 1))


def of_two_dimensions():
    x, _ = digits()
    return Subject(model(latent=2), "digits", x, None, (), (SIDE, SIDE, 1))


KINDS = {
    "digits": of_digits,
    "a class": of_a_class,
    "two views": of_two_views,
    "an own layer": of_an_own_layer,
    "two dimensions": of_two_dimensions,
}


def as_bytes(image):
    return np.round(255.0 * np.clip(image, 0.0, 1.0))


def same(seen, expected):
    """Whether two pictures are the same, but for one step of rounding."""
    assert seen.shape == expected.shape
    assert np.abs(seen - expected).max() <= 1


class Page:
    """A report and what Python knows of it."""

    def __init__(self, path, subject):
        self.path, self.facts = path, Facts(subject)
        self.vae, self.codes = subject.vae, self.facts.codes
        path.write_text(report_page.page(self.facts, path), encoding="utf-8")

    def decoded(self, code, y=None):
        """What Python makes of a code, as bytes of grey (height, width), or of a condition."""
        y = None if y is None else np.array([y], "float32")
        mean = ops.convert_to_numpy(self.vae.decode(np.asarray(code, "float32")[None], y).mean)
        return as_bytes(mean.reshape(SIDE, SIDE))

    def original(self, i):
        """The test image of a point."""
        return as_bytes(self.facts.pictures(self.facts.chosen[i : i + 1])[0])

    def named(self, i):
        """What the page calls a point."""
        return f"image {self.number(i)}, label {NAMES[self.facts.labels[i]]}"

    def number(self, i):
        """The number of the test image of a point."""
        return int(self.facts.chosen[i])


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Function (kind) -> its page, made once."""
    folder, made = tmp_path_factory.mktemp("report"), {}

    def page(kind):
        if kind not in made:
            made[kind] = Page(folder / f"{kind}.html", KINDS[kind]())
        return made[kind]

    return page


@pytest.fixture(scope="module")
def running():
    with running_browser() as found:
        yield found


@pytest.fixture
def browser(running):
    """The browser as it is at first; afterwards, that no page had anything to complain of."""
    running.dark(False)
    running.size(DESK)
    yield running
    assert running.messages() == []


@pytest.fixture
def page(browser, pages):
    """The report of the digits, opened."""
    browser.open(pages("digits").path)
    return pages("digits")


def place_of(browser, i):
    """Where a point is, from the middle of the map."""
    script = """
    const map = bicoder.page.map, box = map.canvas.getBoundingClientRect(), i = arguments[0];
    return [map.screen[2 * i] - box.width / 2, map.screen[2 * i + 1] - box.height / 2];
    """
    return [round(at) for at in browser.js(script, i)]


def pinned(browser):
    """The points that are pinned, the last one last."""
    return browser.js("return bicoder.page.pins.all.map(pin => pin.i)")


def pin(browser, *points):
    """Pin points alone."""
    browser.js("for (const i of bicoder.page.pins.all.map(pin => pin.i)) bicoder.page.pins.remove(i)")
    for i in points:
        browser.js("bicoder.page.pins.pin(arguments[0])", int(i))
    browser.frame()


def code(browser):
    """The code of the explorer."""
    return np.array(browser.js("return Array.from(bicoder.page.explorer.code)"))


def idle(browser):
    """Wait until all that can wait is drawn."""
    browser.wait("return [...document.querySelectorAll('.rows')].every(rows => !rows.hidden)")
    browser.wait("return bicoder.waiting() === 0")
