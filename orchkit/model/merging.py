"""Merging: the model of a shared context, and what it means to write to one of its fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from orchkit.errors import DefinitionError
from orchkit.model.codec import Codec, codec_for
from orchkit.model.wording import nearest

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["Rule", "SharedModel", "add", "append"]

Rule = Callable[[Any, Any], Any]
"""Merges what a field held with what is written to it."""


def append(old: Any, new: Any) -> Any:
    """Merge rule of the shared context: concatenate lists, or texts.

    Parameters
    ----------
    old, new : list or str
        What the field held, and what is put behind it.

    Returns
    -------
    list or str

    Examples
    --------
    >>> import orchkit as ok
    >>> ok.append(["asked"], ["answered", "closed"])
    ['asked', 'answered', 'closed']
    """
    return [*old, *new] if isinstance(old, list) else old + new


def add(old: Any, new: Any) -> Any:
    """Merge rule of the shared context: add numbers.

    Parameters
    ----------
    old, new : int or float
        What the field held, and what is added.

    Returns
    -------
    int or float

    Examples
    --------
    >>> import orchkit as ok
    >>> ok.add(1.25, 0.25)
    1.5
    """
    return old + new


class SharedModel:
    """The definition of a shared context: a pydantic model, and how the writes of its fields merge.

    Neither is part of any node's fingerprint: a change of the model would change every node. A field that is in a
    log and no more in the model is left out of what steps see.

    Parameters
    ----------
    model : type
        A pydantic model; each field has a default.
    rules : mapping of str to callable
        Per field, ``rule(old, new)``: pure, named, associative. A field without one is replaced.
    redact : frozenset of str
        Fields and keys whose values no record shows.

    Attributes
    ----------
    codecs : dict of str to Codec
        Per field.
    defaults : dict
        Per field, the JSON of its default.

    Raises
    ------
    DefinitionError
        Naming the field that has no default, or whose rule makes no sense.
    """

    __slots__ = ("_whole", "codecs", "defaults", "model", "rules")

    def __init__(self, model: type[BaseModel], rules: Mapping[str, Rule], redact: frozenset[str] = frozenset()) -> None:
        self.model = _checked_model(model)
        for name in sorted(redact & model.model_fields.keys()):
            raise _refusal(model, f"field {name!r} is one that redact= keeps out of the log; take it out, use deps=")
        self._whole = codec_for(model)
        self.codecs: dict[str, Codec] = {
            name: _field_codec(field, redact) for name, field in model.model_fields.items()
        }
        self.defaults = self._defaults()
        again = self._defaults()
        for name, default in self.defaults.items():
            if again[name] != default:
                raise _refusal(model, f"the default of field {name!r} differs each time; a resume needs one that stays")
        if not isinstance(rules, Mapping):
            raise _refusal(model, f"merge={rules!r}: give a dict of fields and rules, such as {{'notes': ok.append}}")
        self.rules = dict(rules)
        for name, rule in self.rules.items():
            self._check_rule(name, rule)

    def _defaults(self) -> dict[str, Any]:
        try:
            made = self.model()
            return {name: codec.dump(getattr(made, name), "") for name, codec in self.codecs.items()}
        except (ValueError, TypeError) as error:
            raise _refusal(self.model, f"its defaults do not fit it: {error}") from error

    def _check_rule(self, name: str, rule: Any) -> None:
        said = f"merge={{{name!r}: {getattr(rule, '__name__', repr(rule))}}}"
        if name not in self.codecs:
            raise _refusal(self.model, f"{said}: no such field; {nearest(name, self.codecs)}")
        named = callable(rule) and getattr(rule, "__name__", "<lambda>") != "<lambda>"
        if not named or inspect.iscoroutinefunction(rule):
            raise _refusal(self.model, f"{said}: use ok.append, ok.add, or a function rule(old, new) written with def")
        default = self.defaults[name]
        if rule is append and not isinstance(default, (list, str)):
            raise _refusal(self.model, f"{said}: its default is {default!r}, and ok.append needs a list or a text")
        if rule is add and (isinstance(default, bool) or not isinstance(default, (int, float))):
            raise _refusal(self.model, f"{said}: its default is {default!r}, and ok.add needs a number")
        try:
            inspect.signature(rule).bind(None, None)
        except TypeError as error:
            raise _refusal(self.model, f"{said}: a rule gets (old, new); {error}") from None
        except ValueError:
            pass  # a builtin that does not tell its parameters

    def dump(self, changes: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Check what a step writes and give its JSON.

        Raises
        ------
        DefinitionError
            For a field that is not there, or a value that does not fit it.
        """
        delta = {}
        for name, value in changes.items():
            if name not in self.codecs:
                near = nearest(name, self.codecs)
                raise DefinitionError(f"{where}: {self.model.__name__} has no field {name!r}; {near}")
            try:
                delta[name] = self.codecs[name].dump(value, "")
            except (ValueError, TypeError) as error:
                raise DefinitionError(f"{where}: the value for {name!r} does not fit the field: {error}") from error
        return delta

    def fold(self, deltas: Iterable[Mapping[str, Any]], onto: Mapping[str, Any]) -> dict[str, Any]:
        """Merge deltas in their order onto the values of all fields; changes neither."""
        written: dict[str, list[Any]] = {}
        for delta in deltas:
            for name, value in delta.items():
                if name in self.codecs:
                    written.setdefault(name, []).append(value)
        return {**onto, **{name: self._merged(name, onto[name], values) for name, values in written.items()}}

    def _merged(self, name: str, old: Any, values: Sequence[Any]) -> Any:
        rule = self.rules.get(name)
        if rule is None:
            return values[-1]
        if rule is append:  # at once: one by one would copy the list for each
            return "".join((old, *values)) if isinstance(old, str) else [part for one in (old, *values) for part in one]
        if rule is add:  # not by sum(), whose last digit differs between versions of Python
            for value in values:
                old += value
            return old
        codec = self.codecs[name]
        merged = codec.load(old)
        for value in values:
            merged = rule(merged, codec.load(value))
        return codec.dump(merged, "")

    def joined(self, earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
        """Make one delta of two of the same attempt."""
        both = {name: self._merged(name, earlier[name], [value]) for name, value in later.items() if name in earlier}
        return {**earlier, **later, **both}

    def load(self, values: Mapping[str, Any]) -> Any:
        """Give the model's instance of folded values; shares nothing with them.

        Raises
        ------
        pydantic.ValidationError
            If they do not fit the model, such as a sum beyond a bound.
        """
        return self._whole.load(dict(values))


def _checked_model(model: Any) -> Any:
    from pydantic import BaseModel, RootModel

    if not (isinstance(model, type) and issubclass(model, BaseModel)) or issubclass(model, RootModel):
        raise DefinitionError(f"wf.context({model!r}): give a pydantic model, a class with a default for each field")
    bare = [name for name, field in model.model_fields.items() if field.is_required()]
    if bare:
        raise _refusal(model, f"field {bare[0]!r} has no default; a run begins with the defaults of all fields")
    return model


def _field_codec(field: Any, redact: frozenset[str]) -> Codec:
    annotated: Any = Annotated
    return codec_for(annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation, redact)


def _refusal(model: Any, why: str) -> DefinitionError:
    return DefinitionError(f"wf.context({model.__name__}): {why}")
