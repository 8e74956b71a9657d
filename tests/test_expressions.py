"""Formulas: their values, against numexpr where pyFAI evaluates them, and what is refused."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bluesky_azint.errors import RecipeError
from bluesky_azint.expressions import FUNCTIONS, Expression


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1.0),
        ("-a ** 2", -9.0),
        ("2 ** -a", 0.125),
        ("1 / 2 * a", 1.5),
        ("(a + b) * (a - b) / b", (9 - 0.25) / 0.5),
        ("+arctan2(a, -b) + pi", math.atan2(3, -0.5) + math.pi),
        ("hypot(a, 4)", 5.0),
        ("sqrt(abs(-a)) - log10(1e3)", math.sqrt(3) - 3),
        (" a\n ", 3.0),
    ],
)
def test_values(text: str, expected: float) -> None:
    value = Expression(text)({"a": 3.0, "b": 0.5})
    assert type(value) is float
    assert value == pytest.approx(expected, rel=1e-15)


@given(a=st.floats(0.1, 0.9), b=st.floats(0.1, 0.9))
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_those_of_numexpr(name: str, a: float, b: float) -> None:
    numexpr = pytest.importorskip("numexpr")  # it comes with pyFAI
    arguments = "a + 1.0" if name == "arccosh" else ", ".join(["a", "b"][: FUNCTIONS[name].nin])
    formula = Expression(f"{name}({arguments}) ** 2 - b / 3")
    theirs = numexpr.evaluate(formula.text, {"a": a, "b": b})
    assert formula({"a": a, "b": b}) == pytest.approx(float(theirs), rel=1e-13, abs=1e-14)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "a.real",
        "a[0]",
        "[a]",
        "lambda: 1",
        "a if b else a",
        "a < b",
        "a and b",
        "not a",
        "~a",
        "a % b",
        "a // b",
        "a @ b",
        "'a'",
        "1j",
        "True",
        "sin(a, b)",
        "sin(x=a)",
        "sin(*a)",
        "eval(a)",
        "sin(a)(b)",
        "(a := 1)",
        "a = 1",
        "a; b",
        "",
        "1 +",
        "-" * 5000 + "a",
        "(" * 300 + "a" + ")" * 300,
    ],
)
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match=r"not understood|no formula|argument|characters"):
        Expression(text)


def test_what_has_no_value_is_told() -> None:
    with pytest.raises(RecipeError, match="needs a, c"):
        Expression("a + b + c")({"b": 1.0})
    for text in ("1 / a", "log(-1 - a)", "9 ** 9 ** 9 ** 9", "arcsin(2)", "(-1) ** 0.5"):
        with pytest.raises(RecipeError, match=r"is (nan|inf)"):
            Expression(text)({"a": 0.0})
