"""Component: what the members of every family share - a name, a config, and a place in the subclass tree.

A family is a class tree: `Likelihood` is one, `GaussianLikelihood` a member. The tree is the registry: a class that
exists can be chosen by its name, is listed in error messages and in `--help`, and is saved and loaded.
"""

import abc
import ast
import inspect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bicoder.errors import UsageError, suggestion


def snake_case(name: str) -> str:
    """`MnistBW` -> `mnist_bw`, `BetaELBO` -> `beta_elbo`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def part_name(class_name: str, family: str) -> str:
    """The name users type: the class name without its family, `GaussianLikelihood` -> `gaussian`."""
    return snake_case(class_name.removesuffix(family) or class_name)


def parsed(text: str) -> dict[str, Any]:
    """NAME or NAME:argument=value,argument=value as a config: {"name": NAME, argument: value, ...}.

    Raises:
        ValueError: what follows the name is something else.
    """
    name, colon, rest = text.partition(":")
    config: dict[str, Any] = {"name": name}
    # A comma inside brackets belongs to a list, hidden=[300,300].
    for item in re.split(r",(?![^\[]*\])", rest) if colon else []:
        argument, equals, value = item.partition("=")
        if not equals or argument == "name":
            raise ValueError(f"expected {name}:argument=value, received {text!r}")
        try:
            config[argument] = json.loads(value)
        except ValueError:
            config[argument] = value
    return config


class Component(abc.ABC):  # noqa: B024 - its abstract methods are those of the families
    """A part with a name and a config.

    The arguments of `__init__` are attributes of the same name: that is all it takes to be saved and rebuilt.
    """

    @classmethod
    def family(cls) -> "type[Component]":
        """The root of the family: the class just below `Component`."""
        return [c for c in cls.__mro__ if issubclass(c, Component)][-2]

    @classmethod
    def part_name(cls) -> str:
        """The name that users type for this class."""
        return part_name(cls.__name__, cls.family().__name__)

    @classmethod
    def arguments(cls) -> list[str]:
        """Names of the arguments of `__init__`."""
        # Of the method, not of the class: Python 3.10 takes the class's to be that of Keras' own `__new__`.
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL and p.kind is not p.VAR_KEYWORD]

    @classmethod
    def members(cls) -> dict[str, Any]:
        """name -> class, for this class and all below it, without the abstract ones."""
        found = {} if inspect.isabstract(cls) else {cls.part_name(): cls}
        for child in cls.__subclasses__():
            found |= child.members()
        return found

    @classmethod
    def get(cls, spec: Any, **arguments: Any) -> Any:
        """Turn a name, a config or an instance into an instance; None stays None.

        Args:
            spec: a name such as "gaussian", or with arguments, "gaussian:sigma=0.1"; a config (a dict with "name" and
                arguments), an instance, or None.
            arguments: given to the class if `spec` is a name.
        Raises:
            UsageError: no member has that name, or it does not take these arguments.
        """
        if spec is None or isinstance(spec, cls):
            return spec
        members, family = cls.members(), snake_case(cls.__name__)
        if isinstance(spec, str) and ":" in spec:
            try:
                spec = parsed(spec)
            except ValueError as error:
                raise UsageError(f"{family}: {error}") from None
        if isinstance(spec, dict) and "name" in spec:
            spec, arguments = spec["name"], {k: v for k, v in spec.items() if k != "name"} | arguments
        if not isinstance(spec, str) and members == {cls.part_name(): cls}:
            raise UsageError(f"{family}: expected a {cls.__name__}, received {type(spec).__name__}")
        if not isinstance(spec, str) or spec not in members:
            raise UsageError(
                f"{family}: expected one of {', '.join(sorted(members))} or an instance of {cls.__name__}, "
                f"received {spec!r}{suggestion(spec, members)}"
            )
        takes = members[spec].arguments()
        if unknown := set(arguments) - set(takes):
            hint = suggestion(min(unknown), takes)
            raise UsageError(
                f"{family} {spec}: takes {', '.join(takes) or 'no arguments'}; received {sorted(unknown)}{hint}"
            )
        return members[spec](**arguments)

    def __repr__(self) -> str:
        """Its class and arguments, parts among them in the same way."""
        try:
            config = self.get_config()
        except AttributeError:  # its `__init__` has not ended
            config = {}
        parts = {name: getattr(self, name) for name in config if isinstance(getattr(self, name), Component)}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in (config | parts).items())})"

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`, parts among them as configs of their own."""
        return {name: plain(getattr(self, name)) for name in self.arguments()}

    def spec(self) -> dict[str, Any]:
        """{"name": ..., **config}: what `get` turns back into an equal part."""
        return {"name": self.part_name(), **self.get_config()}


def plain(value: Any) -> Any:
    """A part as its config, a Keras layer of the user's as Keras' own config, a tuple as a list; else as it is."""
    if isinstance(value, Component):
        return value.spec()
    if hasattr(value, "get_config"):
        import keras

        return keras.saving.serialize_keras_object(value)
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return list(value) if isinstance(value, tuple) else value


def names_in_source(modules: str | Sequence[str], family: str) -> dict[str, str]:
    """name -> first line of the docstring, for the members of a family, read from the source and not imported.

    `--help` lists every part, and importing Keras takes five seconds; the text of the module is there at once.

    Args:
        modules: file name of the family's module, such as "likelihoods.py", or of several.
        family: name of its root class, such as "Likelihood".
    """
    found = classes_in_source(modules, family)
    return {
        part_name(name, family): (ast.get_docstring(nodes[0]) or "").split("\n")[0]
        for name, nodes in found.items()
        if name != family and not name.startswith("_")  # what two members share, and no member itself
    }


def said_in_source(modules: str | Sequence[str], family: str, attribute: str) -> dict[str, Any]:
    """name -> the value that the members of a family have for an attribute of their class, read as `names_in_source`.

    Args:
        modules, family: as `names_in_source` has them.
        attribute: its name; where it is set, it is a plain text or number.
    """
    found = {}
    for name, nodes in classes_in_source(modules, family).items():
        values = [value for node in nodes for value in values_in(node, attribute)]
        if values and name != family and not name.startswith("_"):
            found[part_name(name, family)] = values[0]
    return found


def arguments_in_source(modules: str | Sequence[str], family: str) -> dict[str, list[str]]:
    """name -> the arguments that the members of a family take, read as `names_in_source`."""
    found = {}
    for name, nodes in classes_in_source(modules, family).items():
        made = [line for node in nodes for line in node.body if isinstance(line, ast.FunctionDef)]
        first = next((line.args for line in made if line.name == "__init__"), None)
        taken = [] if first is None else [*first.posonlyargs, *first.args, *first.kwonlyargs]
        found[part_name(name, family)] = [argument.arg for argument in taken[1:]]
    return found


def values_in(node: ast.ClassDef, attribute: str) -> list[Any]:
    """The value that the body of a class gives an attribute, if it gives one."""
    found: list[Any] = []
    for line in node.body:
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        if isinstance(line, (ast.Assign, ast.AnnAssign)) and line.value is not None:
            found += [ast.literal_eval(line.value) for t in targets if isinstance(t, ast.Name) and t.id == attribute]
    return found


def classes_in_source(modules: str | Sequence[str], family: str) -> dict[str, list[ast.ClassDef]]:
    """Name of a class -> it and its bases, the nearest first, of a family in the source, its root among them."""
    sources = [Path(__file__).parent / name for name in ([modules] if isinstance(modules, str) else modules)]
    found: dict[str, list[ast.ClassDef]] = {}
    for node in [node for path in sources for node in ast.parse(path.read_text(encoding="utf-8")).body]:
        if isinstance(node, ast.ClassDef):
            bases = [ast.unparse(base) for base in node.bases]
            above = [one for base in bases for one in found.get(base, [])]
            if node.name == family or above or family in bases:  # the root may stand in another file
                found[node.name] = [node, *above]
    return found
