"""Draws the references of events and settings from the classes that define them."""

import ast
import inspect
import re
from itertools import groupby
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct
from msgspec.inspect import Field, StructType, Type

from bus.events import BY_TYPE, Envelope, Event
from bus.model import MOST, PackageSettings, TenantSettings
from bus.settings import Settings

FILES: dict[type, str] = {
    TenantSettings: "[tenant.toml](settings.md#tenanttoml)",
    PackageSettings: "[package.toml](settings.md#packagetoml)",
}
"""What events carry whole, and where it is described."""


def attribute_docs(shape: type[Struct]) -> dict[str, str]:
    """Collect the strings that stand below the fields of a class and of those it is made from."""
    docs: dict[str, str] = {}
    for cls in reversed(shape.__mro__):
        if cls.__module__.startswith("bus."):
            docs |= _own_docs(cls)
    return docs


def _own_docs(cls: type) -> dict[str, str]:
    (body,) = (node for node in ast.parse(inspect.getsource(cls)).body if isinstance(node, ast.ClassDef))
    docs: dict[str, str] = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        match field, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                docs[name] = " ".join(text.split())
            case _:
                pass
    return docs


def type_words(type_: Type) -> str:
    """Say in words what a value may be."""
    match type_:
        case msgspec.inspect.Metadata(type=type_):
            return type_words(type_)
        case msgspec.inspect.LiteralType(values=values):
            return " or ".join(f'"{value}"' for value in values)
        case msgspec.inspect.UnionType(types=types):
            return " or ".join(type_words(t) for t in types if not isinstance(t, msgspec.inspect.NoneType))
        case msgspec.inspect.TupleType(item_types=items):
            return "[" + ", ".join(type_words(item) for item in items) + "]"
        case msgspec.inspect.VarTupleType(item_type=item) | msgspec.inspect.ListType(item_type=item):
            return f"list of {type_words(item)}"
        case msgspec.inspect.DictType(value_type=value):
            return f"table of {type_words(value)}"
        case msgspec.inspect.StructType(cls=cls):
            return FILES.get(cls, cls.__name__)
        case _:
            return _plain(type_) + _bounds(type_)


def _plain(type_: Type) -> str:
    names = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false"}
    name = type(type_).__name__.removesuffix("Type").lower()
    return names.get(name, name)


def _bounds(type_: Type) -> str:
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below"}
    bounds = {word: getattr(type_, key, None) for key, word in words.items()}
    given = [f"{word} {bound:g}" for word, bound in bounds.items() if bound not in {None, MOST}]
    return f" {' '.join(given)}" if given else ""


def default_words(field: Field) -> str:
    if field.required:
        return "**required**"
    default = field.default_factory() if field.default_factory is not NODEFAULT else field.default
    if default is None or default in ("", {}) or isinstance(default, Struct):
        return ""
    return f"`{msgspec.json.encode(default).decode()}`"


def shape_of(cls: type[Struct]) -> StructType:
    found = msgspec.inspect.type_info(cls)
    assert isinstance(found, StructType)  # noqa: S101 (for the type checker: a Struct is what was asked about)
    return found


# ---------------------------------------------------------------- events


def events() -> str:
    parts = [EVENTS_HEAD.format(count=len(BY_TYPE))]
    parts += ["## What the bus adds to each event", "", *_fields(Envelope, attribute_docs(Envelope)), ""]
    for family, members in groupby(BY_TYPE.items(), lambda item: item[1].family):
        parts += [f"## {family}", ""]
        shared: dict[str, str] = {}  # what one event says of a field holds for its whole family
        for name, cls in members:
            shared |= attribute_docs(cls)
            parts += [*_event(name, cls, shared), ""]
    return "\n".join(parts)


EVENTS_HEAD = """# Events

The {count} events that go over the bus, and all that the services know of one another. `bus tail` shows them.
"""


def _event(name: str, cls: type[Event], docs: dict[str, str]) -> list[str]:
    return [
        f"### {name}",
        "",
        " ".join((inspect.getdoc(cls) or "").split()),
        "",
        f"Said by: {cls.speaker}. Subject: `{cls.subject_field}`.",
        "",
        *_fields(cls, docs),
    ]


def _word(type_: Type) -> str:
    """Tell what a type says of itself: one of bus/words.py, or what a file holds."""
    if isinstance(type_, StructType):
        return "All that it says."
    schema = type_.extra_json_schema if isinstance(type_, msgspec.inspect.Metadata) else None
    return str((schema or {}).get("description", ""))


def _fields(cls: type[Struct], docs: dict[str, str]) -> list[str]:
    rows = [
        f"| `{field.name}` | {type_words(field.type)} | {_cell(docs.get(field.name) or _word(field.type))} |"
        for field in shape_of(cls).fields
        if field.name != "event"
    ]
    return ["| Field | Type | Meaning |", "|---|---|---|", *rows]


# ---------------------------------------------------------------- settings


def settings() -> str:
    parts = ["# Settings", "", SETTINGS_HEAD, "## tenantbus.toml", ""]
    docs = attribute_docs(Settings)
    for field in shape_of(Settings).fields:
        if field.name != "file":
            parts += [*_section(field, docs), ""]
    parts += [
        "## tenant.toml",
        "",
        "One in each directory below `paths.tenants`.",
        "",
        *_keys(TenantSettings),
        "",
    ]
    parts += [
        "## package.toml",
        "",
        "One in each APP/VERSION below `paths.packages`.",
        "",
        *_keys(PackageSettings),
    ]
    return "\n".join(parts) + "\n"


SETTINGS_HEAD = """Three kinds of files, all TOML. An unknown key or a wrong type is an error that names file,
key, line and reason; `bus check` looks through all of them. Relative paths start at the directory of the
file that names them; times are in seconds.
"""


def _section(field: Field, docs: dict[str, str]) -> list[str]:
    name, type_ = field.name, field.type
    if isinstance(type_, msgspec.inspect.DictType):
        name, type_ = f"{name}.NAME", type_.value_type
    assert isinstance(type_, StructType)  # noqa: S101 (tenantbus.toml consists of tables)
    about = docs.get(field.name) or inspect.getdoc(type_.cls) or ""
    return [f"### [{name}]", "", " ".join(about.split()), "", *_keys(type_.cls)]


def _keys(cls: Any, before: str = "") -> list[str]:
    head = [] if before else ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    docs = attribute_docs(cls)
    rows: list[str] = []
    for field in shape_of(cls).fields:
        key = f"{before}{field.name}"
        if isinstance(field.type, StructType):
            rows += _keys(field.type.cls, f"{key}.")
        else:
            about = _cell(docs.get(field.name, ""))
            rows.append(f"| `{key}` | {type_words(field.type)} | {default_words(field)} | {about} |")
    return head + rows


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")
