"""A model of Dendrify 2.2 with everything that it has, and its record, for where Dendrify is not.

`made()` makes it with Dendrify; `RECORD` is what its objects then say, `recorded()` the record as
objects with the attributes of Dendrify's that the translation reads.
"""

import json
from pathlib import Path
from types import SimpleNamespace


class Quantity(float):
    """As Brian's: a number in SI base units, with a dimension `dim`."""

    dim = "..."


class Soma(SimpleNamespace):
    """As Dendrify's: `name` and `equations`."""


class Dendrite(Soma):
    """As Dendrify's."""


RECORD = json.loads((Path(__file__).parent / "dendrify_record.json").read_text())


def recorded(**changes) -> SimpleNamespace:
    """The recorded model; changes replace its attributes."""
    kinds = {"Soma": Soma, "Dendrite": Dendrite}
    parts = [kinds[kind](name=n, equations=text) for n, kind, text in RECORD["compartments"]]
    values = {
        name: Quantity(value) if has_unit else value
        for name, (value, has_unit) in RECORD["parameters"].items()
    }
    given = {
        "_compartments": parts,
        "_graph": [tuple(pair) for pair in RECORD["graph"]],
        "_extra_equations": None,
        "parameters": values,
        "equations": "\n\n".join(part.equations for part in parts),
    }
    return SimpleNamespace(**{**given, **changes})


def record(model) -> dict:
    """What the translation reads of a model of Dendrify."""
    return {
        "compartments": [[c.name, type(c).__name__, c.equations] for c in model._compartments],
        "graph": [list(pair) for pair in model._graph],
        "parameters": {
            name: [float(value), hasattr(value, "dim")] for name, value in model.parameters.items()
        },
    }


def made():
    """A soma with an adaptive conductance, a trunk and a tuft; synapses with and without rise,
    dendritic spikes, noise."""
    from brian2 import cm, ms, mV, nS, ohm, pA, uF, um, uS
    from dendrify import Dendrite, NeuronModel, Soma

    membrane = {"cm": 1 * uF / cm**2, "gl": 40 * uS / cm**2, "r_axial": 150 * ohm * cm}
    membrane |= {"v_rest": -70 * mV, "scale_factor": 2.8}
    soma = Soma("soma", "cadIF", length=25 * um, diameter=25 * um, **membrane)
    trunk = Dendrite("trunk", length=100 * um, diameter=2.5 * um, spine_factor=1.5, **membrane)
    tuft = Dendrite("tuft", length=150 * um, diameter=1 * um, spine_factor=1.5, **membrane)
    tuft.synapse("AMPA", "x", g=1 * nS, t_decay=2 * ms)
    tuft.synapse("NMDA", "x", g=1 * nS, t_rise=5 * ms, t_decay=60 * ms, scale_g=True)
    trunk.synapse("GABA", "y", g=2 * nS, t_rise=1 * ms, t_decay=6 * ms)
    trunk.dspikes("Na", g_rise=22 * nS, g_fall=14 * nS)
    tuft.dspikes("Na", g_rise=9 * nS, g_fall=5.7 * nS)
    tuft.noise(tau=20 * ms, sigma=3 * pA, mean=1 * pA)
    model = NeuronModel([(soma, trunk, 15 * nS), (trunk, tuft)])
    model.config_dspikes(
        "Na", threshold=-35 * mV, duration_rise=1.2 * ms, duration_fall=2.4 * ms,
        offset_fall=0.2 * ms, refractory=5 * ms, reversal_rise="E_Na", reversal_fall="E_K",
    )  # fmt: skip
    model.add_params({"EA": -70 * mV, "gAmax": 0.15 * nS, "tauA": 45 * ms, "Gamma_NMDA": 10})
    return model
