"""The pictures of a run, in the order in which they are drawn."""

from pathlib import Path
from typing import Any

from bicoder.engine.arrays.conditioned import parted
from bicoder.errors import counted
from bicoder.pictures.picture import Subject, picture

# What takes long to import, Matplotlib and Keras, is imported by the functions: `--help` reads this module.
# The docstring of a function is the help of its flag.


@picture("curve.png")
def curve(subject: Subject, path: Path) -> Path | None:
    """the bound, distortion and rate of every epoch"""
    from bicoder.pictures.drawing import plotting

    if not subject.history:
        return None
    return plotting.curves(subject.history, path, f"{subject.name}: the bound, in nats per image")


@picture("prior.png", flag="generate_from_prior")
def prior(subject: Subject, path: Path) -> Path:
    """images from z ~ p(z); of a model with a condition, of each class"""
    from bicoder.pictures.by_class import in_order

    vae, count = subject.vae, subject.num_images
    labels = None if vae.condition is None else in_order(range(vae.condition.classes), count)
    return from_prior(subject, vae.generate(count, subject.seed, labels), labels, path)


@picture("posterior.png", flag="generate_from_posterior")
def posterior(subject: Subject, path: Path) -> Path:
    """test images x beside images from z ~ q(z|x); of several views, from each of them to each"""
    from bicoder.pictures import several_views
    from bicoder.pictures.drawing import plotting

    if subject.views:
        return several_views.from_each_to_each(subject, path)
    chosen = subject.taken(subject.some(subject.num_images))
    originals, y = parted(chosen)
    images = subject.vae.decode(subject.vae.encode(chosen).sample(subject.seed), y).mean
    counts = counted(len(originals), "test image")
    titles = (f"{subject.name}: {counts} x", "their reconstructions: mean of p(x|z) for z ~ q(z|x)")
    return plotting.side_by_side([originals, images], path, titles, subject.image_shape)


@picture("traversals.png", flag="traversals")
def traversals(subject: Subject, path: Path) -> Path:
    """what each dimension of z changes in some test images"""
    from bicoder.pictures.traversals import each_dimension

    return each_dimension(subject, path)


@picture("plane.png", flag="traversals")
def plane(subject: Subject, path: Path) -> Path | None:
    """of a code of two dimensions, the images all over it"""
    from bicoder.pictures.traversals import both_dimensions

    return both_dimensions(subject, path) if subject.vae.latent_dim == 2 else None


@picture("interpolation.png", flag="interpolation")
def interpolation(subject: Subject, path: Path) -> Path | None:
    """from one test image to another, on the straight and on the spherical way"""
    from bicoder.pictures.interpolation import between_pairs

    return between_pairs(subject, path)


# Last, since it takes longest, and most of it is compiled code of others: what ends there ends no other picture.
@picture("latent.png", flag="visualize_latent")
def latent(subject: Subject, path: Path) -> Path:
    """the posterior means: by t-SNE, or as they are in one or two dimensions; of several views, of each of them too"""
    from bicoder.evaluation.latent_space import label_accuracy
    from bicoder.pictures import several_views
    from bicoder.pictures.drawing import plotting

    chosen, codes, plane = subject.mapped
    if len(codes) > 1:
        return several_views.codes_by_what_is_given(subject, path)
    (only,) = codes.values()
    labels = None if subject.labels is None else subject.labels[chosen]
    accuracy = None if labels is None else label_accuracy(only, labels, "10-NN")
    title = f"{subject.name}: {plane.how} of {counted(len(chosen), 'test image')}"
    if accuracy is not None:
        title += f"\n10-NN accuracy in the {only.shape[1]}-dimensional latent space {accuracy:.3f}"
    if plane.points.shape[1] == 1:
        return plotting.strips(plane.points[:, 0], path, title, labels, subject.label_names, *plane.axes)
    return plotting.scatter(plane.points, path, title, labels, subject.label_names, plane.axes)


# After `latent`, which has found out where the codes lie.
@picture("report.html", flag="report")
def report(subject: Subject, path: Path) -> Path:
    """all of that and more in one page, with the model's own decoder, for a browser"""
    from bicoder.pictures.report.page import write

    return write(subject, path)


@picture("training.gif", command="film")
def film(subject: Subject, path: Path) -> Path:
    """the same images and the same noise at moments of a training"""
    from bicoder.pictures.drawing.film import animation

    return animation(subject.film(), path)


@picture("kl.png", command="evaluate")
def kl(subject: Subject, path: Path) -> Path | None:
    """the KL of every latent dimension"""
    from bicoder.pictures.drawing import plotting

    numbers = subject.numbers
    if numbers["kl_per_dimension"] is None:
        return None
    units = f"{numbers['active_units']} of {counted(numbers['latent_dim'], 'unit')} active"
    title = f"{subject.name}: {units}, rate {numbers['rate']:.2f} nats per image"
    return plotting.bars(numbers["kl_per_dimension"], path, title)


@picture("coherence.png", command="evaluate")
def coherence(subject: Subject, path: Path) -> Path | None:
    """how well the views agree, by how many are given"""
    from bicoder.pictures.drawing.coherence import agreement

    found = subject.numbers.get("coherence")
    if found is None:
        return None
    examples = counted(found["examples"], "test example")
    return agreement(found, path, f"{subject.name}: {examples}, with standard errors")


@picture("generated.png", command="generate")
def generated(subject: Subject, path: Path) -> Path:
    """images from z ~ p(z)"""
    return from_prior(subject, subject.images, subject.labels, path)


def from_prior(subject: Subject, images: Any, labels: Any, path: Path) -> Path:
    """Images of z ~ p(z), (N, ...), or those of each view; with labels, (N,), of z ~ p(z|y)."""
    from bicoder.pictures import by_class, several_views
    from bicoder.pictures.drawing import plotting

    several = isinstance(images, dict)
    number = len(next(iter(images.values())) if several else images)
    what = counted(number, "example" if several else "image")
    told = ("", "") if labels is None else (", y", "|y")
    title = f"{subject.name}: {what} from the prior, mean of p(x|z{told[0]}) for z ~ p(z{told[1]})"
    if several:
        return several_views.joint_samples(subject, images, title, path)
    if labels is not None:
        return by_class.rows_of_classes(subject, images, labels, title, path)
    return plotting.image_grid(images, path, title, subject.image_shape)
