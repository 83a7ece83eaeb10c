"""Dendrify's models as neurons.

A model of Dendrify 2.2 is equations in Brian's language, a dictionary of their parameters, and pairs
of coupled compartments.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array

from ..checks import shown
from ..neuron import Compartment, Neuron
from ..noise import NoiseCurrent
from .equations import MS, MV, NS, PF, Reader, compartments_of, number, pairs


def from_dendrify(
    model: Any,
    *,
    threshold: Any = None,
    reset: Any = None,
    second_reset: Any = None,
    spike_width: Any = None,
    refractory: Any = 0.0,
    b: Any = None,
    soma: str | None = None,
    dt: float | None = None,
) -> Neuron:
    """A neuron from a `NeuronModel` or `PointNeuronModel` of Dendrify 2.2.

    Compartments keep their names (that of a point neuron is "soma"), synapses are named like
    "AMPA_tag", dendritic spikes as in Dendrify: "dist.AMPA_pathX.g", "dist.Na.v_th". Synapses with a
    rise are not `normalised`: `g` is Dendrify's, which `scale_g` has scaled already. Membrane models
    become `LIF`, `AdaptiveLIF`, `AdEx` and `CAdIF`, or `Leak` where nothing fires; dendritic spikes
    `DendriticPulse`, whose fall lasts as long as asked (Dendrify's lasts one step longer); their
    reversals are those that Dendrify runs, the last ones given for a dSpike's name. Noise is an input
    here: `noise_currents`. All start at rest.

    **Arguments:**

    - `threshold`, `reset`, `second_reset` (mV), `spike_width` and `refractory` (ms): what Dendrify's
      `make_neurongroup` takes in strings such as "V_soma > -40*mV", as numbers or Brian quantities.
      Without a threshold the soma does not fire.
    - `b`: what the reset string adds to w (pA) or to gA (nS), if there is one.
    - `soma`: the compartment that fires, by default the only `Soma`.
    - `dt`: Brian's time step (ms) when the dendritic spikes were defined, in which Dendrify counts
      their durations. By default that of Brian's default clock now.

    Raises ValueError for any other model, for equations that are not Dendrify's own, and for a
    parameter that is missing.
    """
    parts = compartments_of(model)
    parameters = dict(model.parameters)
    resets = {
        "v_th": number(threshold, "threshold", MV),
        "v_reset": number(reset if second_reset is None else second_reset, "reset", MV),
        "t_ref": number(refractory, "refractory", MS),
        "v_spike": number(None if second_reset is None else reset, "reset", MV),
        "spike_width": number(spike_width, "spike_width", MS),
    }
    fires = _firing(model, parts, soma) if threshold is not None else None
    given = {"reset": reset, "second_reset": second_reset, "spike_width": spike_width}
    _check_resets(threshold, given | {"refractory": refractory or None, "b": b, "soma": soma})
    compartments, noisy = {}, []
    for name, equations in parts.items():
        read = Reader(model, name, equations, parameters)
        mechanisms = [read.membrane(resets if name == fires else None, b)]
        mechanisms += [read.receptor(*synapse) for synapse in read.synapses]
        mechanisms += [read.dspike(spike, dt) for spike in read.spikes]
        noisy += [name] if read.noise() is not None else []
        read.finish()
        compartments[name] = Compartment(read("C", PF), mechanisms)
    if noisy:
        warnings.warn(
            f"Noise is an input here: give simulate noise_currents(model, key), which has that of "
            f"{shown(noisy)}.",
            stacklevel=2,
        )
    return Neuron(compartments, _couplings(model, parameters))


def noise_currents(model: Any, key: Array) -> list[NoiseCurrent]:
    """The noise of a Dendrify model as inputs, one for each compartment that has it, stationary from
    the start (Dendrify's begins at 0).

    **Arguments:** `model`, as for `from_dendrify`; `key`, of `jax.random.key`.
    """
    parameters, inputs = dict(model.parameters), []
    for k, (name, equations) in enumerate(compartments_of(model).items()):
        values = Reader(model, name, equations, parameters).noise()
        if values is not None:
            inputs.append(NoiseCurrent(name, jax.random.fold_in(key, k), **values))
    return inputs


def _firing(model: Any, parts: Mapping[str, str], soma: str | None) -> str:
    """The compartment that fires."""
    if soma is None and len(parts) > 1:
        somata = [part.name for part in model._compartments if type(part).__name__ == "Soma"]
        if len(somata) == 1:
            return somata[0]
    elif soma is None:
        return next(iter(parts))
    if soma is None or soma not in parts:
        raise ValueError(
            f"Which compartment fires? Give its name, soma=..., one of {shown(parts)}; got {soma!r}."
        )
    return soma


def _check_resets(threshold: Any, given: dict[str, Any]) -> None:
    there = [name for name, value in given.items() if value is not None]
    if threshold is None and there:
        raise ValueError(
            f"Without a threshold nothing fires; give threshold=..., or no {shown(there)}."
        )
    if threshold is not None and given["reset"] is None:
        raise ValueError("A threshold needs a reset: give reset=... (mV).")
    if (given["second_reset"] is None) != (given["spike_width"] is None):
        raise ValueError("second_reset and spike_width belong together: give both or neither.")


def _couplings(model: Any, parameters: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    couplings = []
    for a, b in pairs(model) or ():
        forth, back = (parameters.get(f"g_{x}_{y}") for x, y in ((a, b), (b, a)))
        if forth is None or back is None or forth != back:
            raise ValueError(
                f"The coupling of {a!r} and {b!r} must have one conductance, the same both ways; the "
                f"Dendrify model has {forth} and {back} (r_axial may be missing)."
            )
        couplings.append((a, b, number(forth, f"g_{a}_{b}", NS)))
    return couplings
