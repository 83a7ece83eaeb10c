"""Hodgkin-Huxley channels: gates that follow the voltage open a conductance.

    I = g x^p y^q ... (e - v)               dx / dt = (x_inf(v) - x) / tau_x(v)

Gates start at rest. At a fixed voltage they are advanced exactly, and their mean over a step is known
in closed form. Sodium is fast: take steps of 0.025 ms with `Splitting`; at its default of 0.1 ms spikes
are some 0.3 ms late after 100 ms, and twice as high.

A channel has no event: the spike is in the voltage. What tells its time is a `DendriticSpike` without
conductances (g_rise = g_fall = 0, v_th = 0 mV), once in each t_ref while the voltage stays above.

Rates are as published, with their temperature: nothing is rescaled. Those of all but the h current are
those of Pospischil et al. (2008, Biol. Cybern. 99:427), for 36 degrees Celsius; v_t and tau_max are by
default those of their regular-spiking cell.
"""

from abc import abstractmethod
from typing import ClassVar, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..clip import at_least, at_most
from ..mechanism import Mechanism, State, parameter
from .kinetics import decay, shrink

LARGEST = 40.0
"""The largest exponent of a rate: beyond it, far from all living voltages, the rate is constant."""

Gate: TypeAlias = tuple[Array, Array]
"""A gate's steady state and its time constant (ms)."""


class Channel(Mechanism):
    """A conductance with gates; the equations are at the top of this file.

    A channel of one's own gives `powers` and `gates`:

        class Persistent(mc.Channel):                                   # a persistent sodium current
            powers = {"m": 1}

            def gates(self, v):
                return {"m": (jax.nn.sigmoid((v + 52.6) / 4.6), jnp.full_like(v, 0.5))}

    **Arguments:** `g`, the conductance with all gates open (nS); `e`, the reversal potential (mV).
    """

    g: Array = parameter("nS", low=0.0)
    e: Array = parameter("mV")

    linear: ClassVar[bool] = True

    powers: ClassVar[dict[str, int]] = {}
    """The gates by name, each with its power in the conductance."""

    @abstractmethod
    def gates(self, v: Array) -> dict[str, Gate]:
        """Each gate's steady state and time constant (ms) at voltage `v` (mV)."""

    def init(self, v: Array) -> State:
        return {name: steady for name, (steady, _) in self.gates(v).items()}

    def current(self, state: State, v: Array) -> Array:
        conductance = self.g
        for name, power in self.powers.items():
            conductance = conductance * state[name] ** power
        return conductance * (self.e - v)

    def advance(self, state: State, v: Array, dt: Array) -> State:
        gates = self.gates(v).items()
        return {k: steady + decay(state[k] - steady, tau, dt) for k, (steady, tau) in gates}

    def mean(self, state: State, v: Array, dt: Array) -> State:
        gates = self.gates(v).items()
        return {k: steady + (state[k] - steady) * shrink(dt / tau) for k, (steady, tau) in gates}


class Sodium(Channel):
    """The fast sodium current of spikes, m^3 h (Traub and Miles, 1991).

    **Arguments:** besides those of `Channel`: `v_t`, which shifts all its rates (mV).
    """

    e: Array = parameter("mV", 50.0)
    v_t: Array = parameter("mV", -56.2)

    powers: ClassVar[dict[str, int]] = {"m": 3, "h": 1}

    def gates(self, v: Array) -> dict[str, Gate]:
        u = v - self.v_t
        opening = 1.28 * exp_linear((u - 13.0) / 4.0)
        closing = 1.4 * exp_linear((40.0 - u) / 5.0)
        recovering = 0.128 * exp((17.0 - u) / 18.0)
        inactivating = 4.0 * jax.nn.sigmoid((u - 40.0) / 5.0)
        return {"m": gate(opening, closing), "h": gate(recovering, inactivating)}


class Potassium(Channel):
    """The delayed rectifier, n^4, that ends spikes (Traub and Miles, 1991).

    **Arguments:** besides those of `Channel`: `v_t`, which shifts its rates (mV), as in `Sodium`.
    """

    e: Array = parameter("mV", -90.0)
    v_t: Array = parameter("mV", -56.2)

    powers: ClassVar[dict[str, int]] = {"n": 4}

    def gates(self, v: Array) -> dict[str, Gate]:
        u = v - self.v_t
        opening = 0.16 * exp_linear((u - 15.0) / 5.0)
        closing = 0.5 * exp((10.0 - u) / 40.0)
        return {"n": gate(opening, closing)}


class IM(Channel):
    """The M current, p: slow potassium that adapts the firing (Yamada, Koch and Adams, 1989).

    **Arguments:** besides those of `Channel`: `tau_max`, which scales its time constant; the longest,
    at -47 mV, is 0.28 of it (ms).
    """

    e: Array = parameter("mV", -90.0)
    tau_max: Array = parameter("ms", 608.0, low=0.0, exclusive=True)

    powers: ClassVar[dict[str, int]] = {"p": 1}

    def gates(self, v: Array) -> dict[str, Gate]:
        x = (v + 35.0) / 20.0
        return {"p": (jax.nn.sigmoid(2.0 * x), self.tau_max / (3.3 * exp(x) + exp(-x)))}


class Calcium(Channel):
    """The L-type calcium current, q^2 r, of high threshold (Reuveni et al., 1993).

    It opens above -40 mV and inactivates over hundreds of ms, so it carries plateaus.
    """

    e: Array = parameter("mV", 120.0)

    powers: ClassVar[dict[str, int]] = {"q": 2, "r": 1}

    def gates(self, v: Array) -> dict[str, Gate]:
        opening = 0.209 * exp_linear((v + 27.0) / 3.8)
        closing = 0.94 * exp((-75.0 - v) / 17.0)
        recovering = 4.57e-4 * exp((-13.0 - v) / 50.0)
        inactivating = 0.0065 * jax.nn.sigmoid((v + 15.0) / 28.0)
        return {"q": gate(opening, closing), "r": gate(recovering, inactivating)}


class Ih(Channel):
    """The h current, m: a cation current that hyperpolarisation opens, the cause of the sag.

    That of layer 5 pyramidal cells at 34 degrees Celsius (Kole, Hallermann and Stuart, 2006), as in
    Hay et al. (2011).
    """

    e: Array = parameter("mV", -45.0)

    powers: ClassVar[dict[str, int]] = {"m": 1}

    def gates(self, v: Array) -> dict[str, Gate]:
        opening = 6.43e-3 * 11.9 * exp_linear(-(v + 154.9) / 11.9)
        closing = 0.193 * exp(v / 33.1)
        return {"m": gate(opening, closing)}


def gate(opening: Array, closing: Array) -> Gate:
    """The gate of two rates (1/ms)."""
    tau = 1.0 / (opening + closing)
    return opening * tau, tau


def exp(x: Array) -> Array:
    """exp(x), bounded so that every rate is finite."""
    return jnp.exp(at_most(x, LARGEST))


def exp_linear(x: Array) -> Array:
    """x / (1 - exp(-x)), which is 1 at x = 0; linear far above, exponential far below."""
    return 1.0 / shrink(at_least(x, -LARGEST))
