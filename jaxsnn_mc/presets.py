"""The models that Dendrify's authors published, as neurons to start from.

Geometry and parameters are those of the notebooks to Pagkalos, Chavlis and Poirazi, Nature
Communications 14:131 (2023), doi 10.1038/s41467-022-35747-8 (figures 2 to 5). Every number is a
parameter of the neuron returned: `neuron.set({"apical.NMDA.g": 0.0})`.
"""

# Fields are typed as the arrays that numbers are converted to.
# pyright: reportArgumentType=false

from functools import partial

from .geometry import Cylinder, half_cylinders
from .mechanism import Mechanism
from .mechanisms import AMPA, LIF, NMDA, CAdIF, Leak, SodiumSpike
from .neuron import Compartment, Neuron
from .units import mS_PER_CM2


def passive_dendrites() -> Neuron:
    """Figure 2: a leaky soma with two passive dendrites; AMPA and NMDA on `apical`.

    Compartments: soma, apical, basal.
    """
    shape = partial(Cylinder, specific_leak=50.0, scale_factor=3.0)
    soma = shape(25.0, 25.0)
    apical, basal = shape(250.0, 2.0, spine_factor=1.5), shape(150.0, 2.0, spine_factor=1.5)
    fires = LIF(
        g_leak=soma.g_leak, v_leak=-70.0, v_th=-40.0, v_reset=-50.0, t_ref=3.0, frozen=False
    )
    synapses = [AMPA(1.0, 2.0), NMDA(1.0, 60.0)]
    return Neuron(
        {
            "soma": Compartment(soma.c_m, [fires]),
            "apical": Compartment(apical.c_m, [Leak(apical.g_leak, -70.0), *synapses]),
            "basal": Compartment(basal.c_m, [Leak(basal.g_leak, -70.0)]),
        },
        [("soma", "apical", 10.0), ("soma", "basal", 10.0)],
    )


def active_dendrites(dspikes: bool = True, fires: bool = True) -> Neuron:
    """Figure 3: a chain of soma, trunk, prox and dist with sodium spikes in the dendrites; AMPA and
    NMDA on `prox` and `dist`.

    **Arguments:** `dspikes`, whether the dendrites have their sodium spikes; `fires`, whether the soma
    has a threshold (at -40 mV to 40 mV, and 0.5 ms later to -55 mV).
    """
    shape = partial(Cylinder, specific_leak=40.0, scale_factor=2.8)
    dendrite = partial(shape, spine_factor=1.5)
    soma, trunk = shape(25.0, 25.0), dendrite(100.0, 2.5)
    prox, dist = dendrite(100.0, 1.0), dendrite(100.0, 0.5)
    spike = partial(
        SodiumSpike, e_rise=70.0, e_fall=-89.0, v_th=-35.0, tau_rise=0.6, tau_fall=1.2, offset=0.2,
        t_ref=5.0,
    )  # fmt: skip
    at_soma: Mechanism = Leak(soma.g_leak, -70.0)
    if fires:
        at_soma = LIF(
            g_leak=soma.g_leak, v_leak=-70.0, v_th=-40.0, v_reset=-55.0, t_ref=4.0, v_spike=40.0,
            spike_width=0.5, frozen=False,
        )  # fmt: skip
    on = {
        "trunk": [Leak(trunk.g_leak, -70.0)],
        "prox": [Leak(prox.g_leak, -70.0), AMPA(0.8, 2.0), NMDA(0.8, 60.0)],
        "dist": [Leak(dist.g_leak, -70.0), AMPA(0.8, 2.0), NMDA(0.8, 60.0)],
    }
    if dspikes:
        for name, rise, fall in (("trunk", 34.0, 27.2), ("prox", 15.3, 12.24), ("dist", 7.0, 5.6)):
            on[name].append(spike(rise, fall))
    return Neuron(
        {
            "soma": Compartment(soma.c_m, [at_soma]),
            "trunk": Compartment(trunk.c_m, on["trunk"]),
            "prox": Compartment(prox.c_m, on["prox"]),
            "dist": Compartment(dist.c_m, on["dist"]),
        },
        [("soma", "trunk", 15.0), ("trunk", "prox", 10.0), ("prox", "dist", 4.0)],
    )


_CA1 = {  # length, diameter (um), AMPA and NMDA (nS)
    "prox": (100.0, 2.0, 0.6, 0.4),
    "ob1": (100.0, 1.0, 0.6, 0.4),
    "ob2": (100.0, 1.0, 0.6, 0.4),
    "med": (150.0, 1.25, 0.81, 0.4),
    "dist1": (150.0, 0.8, 0.81, 0.81),
    "dist2": (150.0, 0.8, 0.81, 0.81),
    "bas1": (150.0, 0.8, 0.0, 0.0),
    "bas2": (150.0, 0.8, 0.0, 0.0),
}


def ca1_pyramidal(dspikes: bool = True, second_reset: bool = True, synapses: bool = True) -> Neuron:
    """Figures 4 and 5: a CA1 pyramidal cell of nine compartments, with sodium spikes in all eight
    dendrites and a conductance-adaptive soma.

    Compartments: soma; prox; the obliques ob1, ob2; med; the tufts dist1, dist2; bas1, bas2. All
    dendrites but the basal ones have AMPA and NMDA synapses.

    **Arguments:** `dspikes`, whether the dendrites have their sodium spikes; `second_reset`, whether
    the soma is reset to 37.5 mV and 0.8 ms later to -53 mV, or to -53 mV at once; `synapses`, whether
    the dendrites have them (without, it compiles faster).
    """
    shape = partial(Cylinder, specific_leak=40.0, axial_resistivity=120.0, scale_factor=2.9)
    soma = shape(30.0, 20.0)
    shapes = {name: shape(*size[:2], spine_factor=1.5) for name, size in _CA1.items()}
    reset = {"v_spike": 37.5, "spike_width": 0.8} if second_reset else {}
    fires = CAdIF(
        g_leak=soma.g_leak, v_leak=-65.0, v_th=-47.5, v_reset=-53.0, t_ref=4.0, a=0.15, tau_a=45.0,
        b=21.0, v_a=-65.0, e_a=-65.0, frozen=False, **reset,
    )  # fmt: skip
    compartments = {"soma": Compartment(soma.c_m, [fires])}
    for name, (_, _, ampa, nmda) in _CA1.items():
        dendrite, mechanisms = shapes[name], [Leak(shapes[name].g_leak, -65.0)]
        if synapses and ampa:
            block = {"alpha": 0.087, "beta": 3.57, "gamma": 10.0, "mg": 1.0}
            mechanisms += [AMPA(ampa, 2.5), NMDA(nmda, 50.0, e=0.35, **block)]
        if dspikes:
            g_rise = 10.0 * mS_PER_CM2 * dendrite.lateral_area
            mechanisms.append(
                SodiumSpike(
                    g_rise, g_rise / 2.5, e_rise=50.0, e_fall=-90.0, v_th=-42.5, tau_rise=0.5,
                    tau_fall=1.2, offset=0.6, t_ref=4.2,
                )
            )  # fmt: skip
        compartments[name] = Compartment(dendrite.c_m, mechanisms)

    def joined(a: str, b: str):
        return a, b, half_cylinders(shapes[a], shapes[b])

    return Neuron(
        compartments,
        [
            ("soma", "prox", 22.0),
            joined("prox", "ob1"),
            joined("prox", "ob2"),
            joined("prox", "med"),
            joined("med", "dist1"),
            joined("med", "dist2"),
            ("soma", "bas1", 3.8),
            ("soma", "bas2", 3.8),
        ],
    )
