"""The markup of what moves in the report; page.js fills it.

What needs JavaScript has the class `live` and is hidden until the script of the page shows it.
"""

import numpy as np

from bicoder.errors import counted
from bicoder.pictures.report import markup
from bicoder.pictures.report.facts import Facts

MOST_BARS = 100  # dimensions that have a bar

MAP = """<div class="live" hidden>
<div class="bar">
<label>colour by <select id="colour"></select></label>
<button type="button" id="worst" aria-pressed="false">the 20 worst</button>
<span class="group"><input type="search" id="search" aria-label="find a test image by its number or file name">
<button type="button" id="find">find</button></span>
<span class="group"><button type="button" id="nearer" aria-label="zoom in">+</button>
<button type="button" id="farther" aria-label="zoom out">&minus;</button>
<button type="button" id="whole">whole map</button></span>
</div>
<div class="two"><div>
<div class="frame"><canvas id="map" tabindex="0" role="application" aria-describedby="map-help"
aria-label="latent map; the arrow keys move from image to image, Enter pins, plus and minus zoom"></canvas>
<div id="tooltip" aria-hidden="true" hidden></div></div>
<div id="legend" class="legend" role="group" aria-label="legend"></div>
<p id="said" role="status" aria-live="polite"></p>
<p class="note" id="map-help">Point at an image, or go from one to the next with the arrow keys. A click, a tap or
Enter pins it. The wheel, two fingers or + and &minus; zoom, dragging moves the map, 0 shows all of it.</p>
</div><div><h3>Pinned</h3><p class="note" id="no-pins">Nothing is pinned.</p><ul id="pins"></ul></div></div>
<div id="listed" hidden><h3></h3><div class="strip"></div></div>
</div>
<noscript><p class="note">The map needs JavaScript; latent.png shows the same points.</p></noscript>"""

EXPLORER = """<div class="live" hidden>
<p class="note" id="explorer-why" hidden></p>
<div class="bench">
<div class="seen"><div id="explored" class="pictures"></div><p class="note" id="explored-from"></p></div>
<div class="hands"><div id="sliders" class="sliders"></div>
<details id="more-sliders" hidden><summary></summary><div class="sliders"></div></details></div>
<div class="ways"><div class="bar"><button type="button" id="to-pinned">pinned image</button>
<button type="button" id="to-mean">mean code</button>
<button type="button" id="to-prior">from the prior</button>
<label id="class-choice" hidden>class <select id="class"></select></label></div>
<div id="plane" hidden><div class="bar"><label>plane <select id="plane-kind">
<option value="dimensions">of two dimensions</option>
<option value="pins" disabled>between the last three pins</option></select></label>
<span class="group" id="plane-axes"><select id="plane-across" aria-label="dimension across"></select> &times;
<select id="plane-up" aria-label="dimension upwards"></select></span></div>
<canvas id="pad" tabindex="0" role="application" aria-label="plane of codes; the arrow keys move in it"></canvas>
<p class="note" id="plane-said" role="status"></p></div></div>
</div></div>
<noscript><p class="note">The explorer needs JavaScript.</p></noscript>"""

STRIPS = '<p class="of live" hidden></p><div class="scroll"><div class="rows" hidden></div></div>'


def latent_map(facts: Facts) -> str:
    """The map of the test codes, with what is pinned beside it."""
    what = "test example" if facts.subject.views else "test image"
    heights = "; one dimension, at heights by chance" if facts.codes.shape[1] == 1 else ""
    return f'<p class="note">{counted(len(facts.chosen), what)}: {markup.text(facts.plane.how)}{heights}.</p>{MAP}'


def explorer(facts: Facts) -> str:
    """Sliders and a plane, and the picture of the code that they lead to."""
    found = facts.dimensions
    active, total = len(found.active), len(found.worth)
    does = "does" if active == 1 else "do"
    said = f"{active} of {counted(total, 'dimension')} of z {does} something, those of the highest {found.worth_name} "
    return f'<p class="note">{said}first. The picture is the mean of p(x|z), of the code that you choose.</p>{EXPLORER}'


def traversals(facts: Facts) -> str:
    """What each dimension does to the image pinned last; a picture that the section has is hidden once it is drawn."""
    said = "Each row is one dimension, from &minus;2.5 to 2.5 standard deviations of the codes around their mean; "
    return f'<p class="note">{said}the others stay as they are in the image.</p>{STRIPS}'


def interpolation(facts: Facts) -> str:
    """The ways between the last two pins; a picture that the section has is hidden once they are drawn."""
    said = "From one test image to another, straight, and on the arc that keeps the length of codes of equal length: "
    said = said if facts.codes.shape[1] > 1 else "From one test image to another: "
    return f'<p class="note">{said}means of p(x|z) between the means of their q(z|x).</p>{STRIPS}'


def dimensions(facts: Facts) -> str:
    """A bar for each dimension, which is a button that colours the map, with its number."""
    worth, name = np.nan_to_num(facts.dimensions.worth), facts.dimensions.worth_name
    order, active = np.argsort(-worth, kind="stable").tolist()[:MOST_BARS], set(facts.dimensions.active.tolist())
    units = "in nats, the mean over test images" if facts.dimensions.by_kl else "of the posterior means"
    most = f" The first {len(order)} of {len(worth)} are shown." if len(order) < len(worth) else ""
    highest = max(float(worth.max(initial=0.0)), 1e-12)
    bars = "".join(bar(d, float(worth[d]), float(worth[d]) / highest, name, d in active) for d in order)
    press = '<span class="live" hidden>A click on a bar colours the map by that dimension.</span>'
    said = f'<p class="note">{name[0].upper()}{name[1:]} of each dimension, {units}.{most} {press}</p>'
    return f'{said}<div class="scroll"><ol class="bars">{bars}</ol></div>'


def bar(dimension: int, worth: float, share: float, name: str, active: bool) -> str:
    """A bar as high as its share of the highest. It is drawn by attributes: the policy of the page forbids `style`."""
    height = min(100.0, max(1.0, 100.0 * share))
    text = f"z{dimension + 1}: {name} {worth:.3f}{'' if active else ', does nothing'}"
    rectangle = f'<rect y="{100 - height:.2f}" width="1" height="{height:.2f}"/>'
    drawing = f'<svg viewBox="0 0 1 100" preserveAspectRatio="none" aria-hidden="true">{rectangle}</svg>'
    pressed = f'data-dimension="{dimension}" aria-pressed="false" aria-label="{text}" title="{text}"'
    button = f'<button type="button" {pressed}>{drawing}z{dimension + 1}</button>'
    return f"<li{'' if active else ' class=idle'}>{button}<span>{worth:.2f}</span></li>"
