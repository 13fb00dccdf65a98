"""How well a function is defined on a box (IEEE 1788-2015, clause 11.2: decorations)."""

import enum
from typing import final


@final
class Decoration(enum.IntEnum):
    """What is known of a function on a box, from weak to strong; each includes those before it.

    The numbers are those of IEEE 1788-2015, clause 14.4. Comparisons with `>=` ask what one needs: a theorem on
    continuous functions (mean value, Brouwer, the existence of a zero) needs `DAC`.

    Attributes:
        TRV: Nothing is known: the function may be undefined somewhere on the box, or everywhere.
        DEF: Defined everywhere on the box.
        DAC: Defined and continuous everywhere on the box.
        COM: Moreover, the box is bounded and so is the enclosure.
    """

    TRV = 4
    DEF = 8
    DAC = 12
    COM = 16


# Inside of the engine: how far a value is from `COM`, so that what depends on several is the largest.
COMMON, UNBOUNDED, DISCONTINUOUS, UNDEFINED = range(4)
