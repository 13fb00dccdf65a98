"""How numbers near one, and numbers of every magnitude, are written in figures and reports."""

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

THIN_SPACE = "\u2009"
"""Groups digits by three; as wide in every font that has tabular figures."""


def r_squared(value: float | int | None, *, separator: str = THIN_SPACE) -> str:
    """Write a coefficient of determination with two significant digits of its distance from one, and at least six.

    Args:
        value: R²; `None` or not finite where it was not measured.
        separator: between groups of three decimals.

    Returns:
        Such as `0.999 545`, `0.999 998 7`, or `−3.21` where the model is worse than the mean.

    Examples:
        >>> r_squared(0.9999987, separator=" ")
        '0.999 998 7'
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value >= 1:
        return "1"
    if value < 0:
        return f"−{-value:.2f}" if value > -1e4 else scientific(value)
    # Past twelve decimals double precision has nothing more to say.
    decimals = min(max(6, math.ceil(-math.log10(1 - value)) + 1), 12)
    text = f"{value:.{decimals}f}"
    if float(text) >= 1:
        return "1"
    whole, fraction = text.split(".")
    return f"{whole}." + separator.join(fraction[i : i + 3] for i in range(0, len(fraction), 3))


def scientific(value: float | int | None, digits: int = 2) -> str:
    """Write a number with few significant digits: plainly from 0.01 to 9999, else with a power of ten.

    Args:
        value: the number; `None` or not finite where it was not measured.
        digits: significant digits.

    Examples:
        >>> scientific(1.26e-6), scientific(0.0345), scientific(12.3)
        ('1.3·10⁻⁶', '0.035', '12')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -2 <= power <= 3:
        text = f"{value:.{max(digits - 1 - power, 0)}f}"
    else:
        text = f"{mantissa}·10{str(power).translate(_SUPERSCRIPTS)}"
    return text.replace("-", "−")


def grouped(value: int) -> str:
    """Write a count with its digits in groups of three.

    Examples:
        >>> grouped(433)
        '433'
    """
    return f"{value:,}".replace(",", THIN_SPACE)
