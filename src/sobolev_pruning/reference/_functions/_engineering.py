"""Engineering formulas that surrogates are commonly compared on: smooth, deterministic, one output.

All are over the boxes of S. Surjanovic, D. Bingham, *Virtual Library of Simulation Experiments: Test Functions and
Datasets*, Simon Fraser University (2013), which also collects the formulas.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._function import FunctionReference

_BOREHOLE = (
    (0.05, 0.15),
    (100.0, 50000.0),
    (63070.0, 115600.0),
    (990.0, 1110.0),
    (63.1, 116.0),
    (700.0, 820.0),
    (1120.0, 1680.0),
    (9855.0, 12045.0),
)
_OTL_CIRCUIT = ((50.0, 150.0), (25.0, 70.0), (0.5, 3.0), (1.2, 2.5), (0.25, 1.2), (50.0, 300.0))
_PISTON = (
    (30.0, 60.0),
    (0.005, 0.020),
    (0.002, 0.010),
    (1000.0, 5000.0),
    (90000.0, 110000.0),
    (290.0, 296.0),
    (340.0, 360.0),
)
_WING_WEIGHT = (
    (150.0, 200.0),
    (220.0, 300.0),
    (6.0, 10.0),
    (-10.0, 10.0),
    (16.0, 45.0),
    (0.5, 1.0),
    (0.08, 0.18),
    (2.5, 6.0),
    (1700.0, 2500.0),
    (0.025, 0.08),
)


def borehole() -> FunctionReference:
    """Flow of water through a borehole between two aquifers, in m³ a year; 8 inputs.

    | input | meaning | range |
    |---|---|---|
    | r_w | radius of the borehole | 0.05 to 0.15 m |
    | r | radius of influence | 100 to 50 000 m |
    | T_u | transmissivity of the upper aquifer | 63 070 to 115 600 m² a year |
    | H_u | potentiometric head of the upper aquifer | 990 to 1110 m |
    | T_l | transmissivity of the lower aquifer | 63.1 to 116 m² a year |
    | H_l | potentiometric head of the lower aquifer | 700 to 820 m |
    | L | length of the borehole | 1120 to 1680 m |
    | K_w | hydraulic conductivity of the borehole | 9855 to 12 045 m a year |

    Reference: W. Harper, S. Gupta, *Sensitivity/Uncertainty Analysis of a Borehole Scenario Comparing Latin Hypercube
    Sampling and Deterministic Sensitivity Approaches*, BMI/ONWI-516 (1983). All inputs are uniform here; there, the
    radii are normal and lognormal.
    """
    return _over(_flow, _BOREHOLE)


def otl_circuit() -> FunctionReference:
    """Midpoint voltage of a push-pull circuit without output transformer, in volts; 6 inputs.

    | input | meaning | range |
    |---|---|---|
    | R_b1 | resistance b1 | 50 to 150 kΩ |
    | R_b2 | resistance b2 | 25 to 70 kΩ |
    | R_f | resistance f | 0.5 to 3 kΩ |
    | R_c1 | resistance c1 | 1.2 to 2.5 kΩ |
    | R_c2 | resistance c2 | 0.25 to 1.2 kΩ |
    | β | current gain | 50 to 300 |

    Reference: E. Ben-Ari, D. Steinberg, *Modeling Data from Computer Experiments: An Empirical Comparison of Kriging
    with MARS and Projection Pursuit Regression*, Quality Engineering 19 (2007).
    """
    return _over(_midpoint_voltage, _OTL_CIRCUIT)


def piston() -> FunctionReference:
    """Time of one cycle of a piston within a cylinder, in seconds; 7 inputs.

    | input | meaning | range |
    |---|---|---|
    | M | weight of the piston | 30 to 60 kg |
    | S | surface of the piston | 0.005 to 0.020 m² |
    | V_0 | initial volume of the gas | 0.002 to 0.010 m³ |
    | k | coefficient of the spring | 1000 to 5000 N/m |
    | P_0 | atmospheric pressure | 90 000 to 110 000 N/m² |
    | T_a | ambient temperature | 290 to 296 K |
    | T_0 | temperature of the filling gas | 340 to 360 K |

    References: R. Kenett, S. Zacks, *Modern Industrial Statistics: Design and Control of Quality and Reliability*,
    Duxbury 1998; Ben-Ari and Steinberg (2007).
    """
    return _over(_cycle_time, _PISTON)


def wing_weight() -> FunctionReference:
    """Weight of the wing of a light aircraft, in pounds; 10 inputs.

    | input | meaning | range |
    |---|---|---|
    | S_w | area of the wing | 150 to 200 ft² |
    | W_fw | weight of the fuel in the wing | 220 to 300 lb |
    | A | aspect ratio | 6 to 10 |
    | Λ | sweep of the quarter chord | −10 to 10 degrees |
    | q | dynamic pressure at cruise | 16 to 45 lb/ft² |
    | λ | taper ratio | 0.5 to 1 |
    | t_c | ratio of thickness to chord | 0.08 to 0.18 |
    | N_z | ultimate load factor | 2.5 to 6 |
    | W_dg | gross design weight of the flight | 1700 to 2500 lb |
    | W_p | weight of the paint | 0.025 to 0.08 lb/ft² |

    Reference: A. Forrester, A. Sóbester, A. Keane, *Engineering Design via Surrogate Modelling: A Practical Guide*,
    Wiley 2008.
    """
    return _over(_weight, _WING_WEIGHT)


def _over(function, ranges: tuple[tuple[float, float], ...]) -> FunctionReference:
    lower, upper = np.array(ranges).T
    return FunctionReference.over(function, lower, upper)


def _flow(x: Float[Array, " d"]) -> Float[Array, ""]:
    r_w, r, t_u, h_u, t_l, h_l, length, k_w = x
    log_ratio = jnp.log(r / r_w)
    resistance = 1 + 2 * length * t_u / (log_ratio * r_w**2 * k_w) + t_u / t_l
    return 2 * jnp.pi * t_u * (h_u - h_l) / (log_ratio * resistance)


def _midpoint_voltage(x: Float[Array, " d"]) -> Float[Array, ""]:
    r_b1, r_b2, r_f, r_c1, r_c2, gain = x
    v_b1 = 12 * r_b2 / (r_b1 + r_b2)
    loaded = gain * (r_c2 + 9)
    return ((v_b1 + 0.74) * loaded + 11.35 * r_f + 0.74 * r_f * loaded / r_c1) / (loaded + r_f)


def _cycle_time(x: Float[Array, " d"]) -> Float[Array, ""]:
    weight, surface, v_0, spring, p_0, t_a, t_0 = x
    gas = p_0 * v_0 * t_a / t_0
    force = p_0 * surface + 19.62 * weight - spring * v_0 / surface
    volume = surface / (2 * spring) * (jnp.sqrt(force**2 + 4 * spring * gas) - force)
    return 2 * jnp.pi * jnp.sqrt(weight / (spring + surface**2 * gas / volume**2))


def _weight(x: Float[Array, " d"]) -> Float[Array, ""]:
    s_w, w_fw, aspect, sweep, pressure, taper, thickness, load, w_dg, paint = x
    cosine = jnp.cos(jnp.deg2rad(sweep))
    structure = 0.036 * s_w**0.758 * w_fw**0.0035 * (aspect / cosine**2) ** 0.6 * pressure**0.006 * taper**0.04
    return structure * (100 * thickness / cosine) ** -0.3 * (load * w_dg) ** 0.49 + s_w * paint
