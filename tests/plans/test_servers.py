"""Whether servers that run plans can offer them, and build a form for them."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args, get_origin

import pytest
from bluesky.protocols import Flyable, Movable, Readable

from bluesky_azint import plans

PLANS: list[Callable[..., Any]] = [
    getattr(plans, name) for name in plans.__all__ if not isinstance(getattr(plans, name), type)
]
DEVICES = (Readable, Movable, Flyable)
PLAIN = (str, float, int, bool, type(None))


def plain(annotation: Any) -> bool:
    """Whether it is a device, or something that JSON can say."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in PLAIN or annotation in DEVICES or origin in DEVICES:
        return True
    if origin is Literal:
        return all(isinstance(one, str) for one in arguments)
    if annotation == dict[str, Any]:
        return True
    if origin in (dict, Sequence) or type(annotation).__name__ in ("UnionType", "Union"):
        return all(plain(one) for one in arguments)
    return origin is not None and str(origin) == "typing.Union" and all(map(plain, arguments))


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.__name__)
def test_everything_can_be_told_by_a_form(plan: Callable[..., Any]) -> None:
    signature = inspect.signature(plan)
    for parameter in signature.parameters.values():
        # The queue server does not understand annotations as text, and refuses the plan.
        assert not isinstance(parameter.annotation, str), parameter
        assert plain(parameter.annotation), parameter
        if parameter.default is not inspect.Parameter.empty:
            assert ast.literal_eval(repr(parameter.default)) == parameter.default
    assert list(signature.parameters)[-1] == "md"
    # blueapi takes for plans what returns a MsgGenerator.
    assert "Generator" in str(get_origin(signature.return_annotation))


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.__name__)
def test_everything_is_explained(plan: Callable[..., Any]) -> None:
    """The queue server shows the docstring as help."""
    docstring = inspect.getdoc(plan) or ""
    described = docstring.partition("Parameters\n")[2].partition("Returns\n")[0]
    names = [
        name
        for line in described.splitlines()
        if not line.startswith((" ", "-"))
        for name in line.split(", ")
    ]
    assert {name for name in names if name} == set(inspect.signature(plan).parameters)
