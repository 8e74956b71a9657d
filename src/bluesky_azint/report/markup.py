"""Small pieces of HTML, in which all text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

NOTHING = "\N{EN DASH}"
TIMES = "\N{MULTIPLICATION SIGN}"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    words: Sequence[int] = (),
    kind: str = "plain",
) -> str:
    """A table of text; the first column names its rows.

    Parameters
    ----------
    head
        Names of the columns; none for a table without.
    rows
        Cells.
    words
        Columns that hold sentences, and not numbers.
    kind
        Class of the table, for its style.
    """
    body = "".join(
        "<tr>"
        + "".join(_cell(number, text, number in words) for number, text in enumerate(row))
        + "</tr>"
        for row in rows
    )
    top = "".join(
        f'<th scope="col"{_class(number == 0 or number in words)}>{escape(name)}</th>'
        for number, name in enumerate(head)
    )
    top = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f'<div class="scroll"><table class="{kind}">{top}<tbody>{body}</tbody></table></div>'


def paragraphs(sentences: Iterable[str], tag: str = "li") -> str:
    """Sentences, each in an element of its own."""
    return "".join(f"<{tag}>{escape(sentence)}</{tag}>" for sentence in sentences)


def minus(text: str) -> str:
    """Text with minus signs for the hyphens of numbers."""
    return text.replace("-", "\N{MINUS SIGN}")


def number(value: float, digits: int = 3, unit: str = "") -> str:
    """A number with so many significant digits, and its unit."""
    if not np.isfinite(value):
        return NOTHING
    plain = value == 0 or 1e-4 <= abs(value) < 1e6
    text = (
        np.format_float_positional(value, digits, fractional=False, trim="-")
        if plain
        else f"{value:.{digits - 1}e}"
    )
    return f"{minus(text)} {unit}".strip()


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign and so many decimals."""
    return minus(f"{value:+.{digits}f}") if np.isfinite(value) else NOTHING


def percent(share: float) -> str:
    """A share of one, in percent."""
    return f"{100 * share:.3g} %" if np.isfinite(share) else NOTHING


def measured(value: float, *sigmas: float) -> tuple[str, ...]:
    """A value and its errors, to the second significant digit of the smallest of these."""
    known = [sigma for sigma in sigmas if np.isfinite(sigma) and sigma > 0]
    digits = int(np.clip(1 - np.floor(np.log10(min(known))), 0, 9)) if known else 5
    errors = [f"{s:.{digits}f}" if np.isfinite(s) and s > 0 else NOTHING for s in sigmas]
    plain = f"{round(value, digits) + 0.0:.{digits}f}"  # there is no negative zero
    return minus(plain) if np.isfinite(value) else NOTHING, *errors


def _cell(column: int, text: str, wordy: bool) -> str:
    if column == 0:
        return f'<th scope="row">{escape(text)}</th>'
    return f"<td{_class(wordy)}>{escape(text)}</td>"


def _class(wordy: bool) -> str:
    return ' class="words"' if wordy else ""
