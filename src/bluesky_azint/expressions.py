"""Expressions in text, evaluated without running code: numbers, names, arithmetic, functions.

Only what is listed here is understood, with the meaning it has in numpy on double-precision
numbers; anything else that Python knows is refused when the expression is made.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bluesky_azint.errors import RecipeError

OPERATORS: dict[type[ast.AST], Callable[..., np.float64]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.Pow: np.power,
    ast.USub: np.negative,
    ast.UAdd: np.positive,
}

FUNCTIONS: dict[str, np.ufunc] = {
    name: getattr(np, name)
    for name in (
        *("sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "hypot"),
        *("sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh"),
        *("sqrt", "exp", "expm1", "log", "log10", "log1p", "log2"),
        *("abs", "ceil", "floor", "trunc", "sign", "fmod", "copysign", "minimum", "maximum"),
    )
}

CONSTANTS = {"pi": float(np.pi)}

LONGEST = 2000
"""Characters; more would only exhaust the interpreter."""


@dataclass(frozen=True)
class Expression:
    """A formula such as ``"rot2 + tth * pi / 180"``.

    Raises
    ------
    RecipeError
        If the text is no formula, or holds what is not understood.

    Examples
    --------
    >>> formula = Expression("dist * cos(arm * pi / 180)")
    >>> sorted(formula.names)
    ['arm', 'dist']
    >>> formula({"dist": 2.0, "arm": 180.0})
    -2.0
    """

    text: str

    def __post_init__(self) -> None:
        for node in _nodes(self._tree):
            _check(node, self.text)

    @cached_property
    def _tree(self) -> ast.expr:
        if len(self.text) > LONGEST:
            raise RecipeError(
                f"The formula {self.text[:40]!r}... has {len(self.text)} characters; give one of at "
                f"most {LONGEST}."
            )
        try:
            return ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise RecipeError(f"{self.text!r} is no formula: {error}.") from error

    @cached_property
    def names(self) -> frozenset[str]:
        """The names that need a value; constants and functions are none."""
        names = {node.id for node in _nodes(self._tree) if isinstance(node, ast.Name)}
        return frozenset(names - CONSTANTS.keys())

    def __call__(self, values: Mapping[str, float]) -> float:
        """The value of the formula.

        Raises
        ------
        RecipeError
            If a name has no value, or what comes out is not finite.
        """
        known = {**CONSTANTS, **values}
        if missing := sorted(self.names - known.keys()):
            raise RecipeError(f"The formula {self.text!r} needs {', '.join(missing)}.")
        with np.errstate(all="ignore"):
            result = float(_value(self._tree, known))
        if not np.isfinite(result):
            given = ", ".join(
                f"{name} = {values[name]:g}" for name in sorted(self.names & values.keys())
            )
            raise RecipeError(f"The formula {self.text!r} is {result} at {given or 'all values'}.")
        return result


def _nodes(tree: ast.expr) -> Iterator[ast.expr]:
    """The operands of a tree, without the names of functions."""
    yield tree
    match tree:
        case ast.BinOp():
            children = [tree.left, tree.right]
        case ast.UnaryOp():
            children = [tree.operand]
        case ast.Call():
            children = tree.args
        case _:
            children = []
    for child in children:
        yield from _nodes(child)


def _check(node: ast.expr, text: str) -> None:
    match node:
        case ast.BinOp() | ast.UnaryOp() if type(node.op) in OPERATORS:
            return
        case ast.Constant(value=value) if type(value) in (int, float):
            return
        case ast.Name():
            return
        case ast.Call(func=ast.Name(id=name), keywords=[], args=args) if name in FUNCTIONS:
            wanted = FUNCTIONS[name].nin
            if len(args) == wanted:
                return
            raise RecipeError(
                f"{name} in the formula {text!r} has {len(args)} arguments; it needs {wanted}."
            )
    raise RecipeError(
        f"{ast.unparse(node)!r} in the formula {text!r} is not understood; numbers, names, "
        f"+ - * / ** and brackets are, the constant pi, and {', '.join(FUNCTIONS)}."
    )


def _value(node: ast.expr, values: Mapping[str, float]) -> np.float64:
    match node:
        case ast.BinOp(left=left, op=op, right=right):
            return OPERATORS[type(op)](_value(left, values), _value(right, values))
        case ast.UnaryOp(op=op, operand=operand):
            return OPERATORS[type(op)](_value(operand, values))
        case ast.Call(func=ast.Name(id=name), args=args):
            result: np.float64 = FUNCTIONS[name](*(_value(arg, values) for arg in args))
            return result
        case ast.Name(id=name):
            return np.float64(values[name])
        case ast.Constant(value=int() | float() as number):
            return np.float64(number)
    raise RecipeError(f"{ast.unparse(node)!r} is not understood.")
