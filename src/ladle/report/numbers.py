"""Numbers as people read them. Every picture, table and sentence of the report formats through here."""

from __future__ import annotations

import math
from typing import Any, TypeGuard

NOTHING = "-"
"""What stands where nothing was measured."""


def count(value: Any) -> str:
    """
    >>> count(43110), count(None)
    ('43,110', '-')
    """
    return NOTHING if not finite(value) else f"{value:,.0f}"


def short(value: Any) -> str:
    """Three digits that matter, with k, M, G for thousands.

    >>> short(1234567), short(43.21), short(0.001234), short(0)
    ('1.23 M', '43.2', '0.00123', '0')
    """
    if not finite(value):
        return NOTHING
    for limit, unit, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= limit:
            return f"{_three(value / unit)} {letter}"
    return _three(value)


def loss(value: Any) -> str:
    """
    >>> loss(0.123456), loss(0.0000123), loss(float("nan"))
    ('0.1235', '1.23e-05', '-')
    """
    if not finite(value):
        return NOTHING
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3g}"


def amount(value: Any) -> str:
    """Four digits that matter: for what is told in the user's own unit.

    >>> amount(2631.79), amount(0.56123), amount(1234567.0), amount(None)
    ('2,632', '0.5612', '1,235,000', '-')
    """
    if not finite(value):
        return NOTHING
    return f"{float(f'{value:.4g}'):,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def data_bytes(value: Any) -> str:
    """
    >>> data_bytes(512), data_bytes(3.5e6), data_bytes(2e9)
    ('512 B', '3.5 MB', '2 GB')
    """
    if not finite(value):
        return NOTHING
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(value) >= unit:
            return f"{_three(value / unit)} {name}"
    return f"{value:.0f} B"


def duration(value: Any) -> str:
    """
    >>> duration(0.000123), duration(0.05), duration(12.34), duration(754), duration(7265)
    ('123 µs', '50 ms', '12.3 s', '12 min 34 s', '2 h 01 min')
    """
    if not finite(value):
        return NOTHING
    if value < 1e-3:
        return f"{_three(value * 1e6)} µs"
    if value < 1:
        return f"{_three(value * 1e3)} ms"
    if value < 120:
        return f"{_three(value)} s"
    if value < 7200:
        return f"{int(value) // 60} min {int(value) % 60:02} s"
    return f"{int(value) // 3600} h {int(value) % 3600 // 60:02} min"


def percent(value: Any) -> str:
    """
    >>> percent(0.876), percent(None)
    ('88 %', '-')
    """
    return NOTHING if not finite(value) else f"{100 * value:.0f} %"


def finite(value: Any) -> TypeGuard[float]:
    """Whether `value` is a number one can print."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def quantity(value: Any, unit: str) -> str:
    """`value` with its unit, for units as evidence names them: "bytes", "s/update", "examples", "" ...

    >>> quantity(2.5e9, "bytes"), quantity(0.002, "s/update"), quantity(96.0, "examples"), quantity(0.5, "")
    ('2.5 GB', '2 ms/update', '96 examples', '0.5')
    """
    base, slash, per = unit.partition("/")
    if not finite(value) or base == "bytes":
        return data_bytes(value) + slash + per
    if base in ("seconds", "s"):
        return duration(value) + slash + per
    return f"{short(value)} {unit}".strip()


def _three(value: float) -> str:
    digits = f"{value:.3g}"
    return f"{float(digits):,.0f}" if "e+" in digits else digits
