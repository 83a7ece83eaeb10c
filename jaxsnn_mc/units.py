"""Units at the edge: what a value of a unit is inside, per um2 of membrane or um of cable.

Multiply once, where numbers come in: `10.0 * mS_PER_CM2 * cylinder.area` is a conductance in nS.
"""

uF_PER_CM2 = 1e-2
"""pF/um2."""

uS_PER_CM2 = 1e-5
"""nS/um2."""

mS_PER_CM2 = 1e-2
"""nS/um2."""

S_PER_CM2 = 1e1
"""nS/um2."""

OHM_CM = 1e-2
"""MOhm um."""

MOHM_TO_NS = 1e3
"""A conductance in nS is this over a resistance in MOhm, and the other way round."""
