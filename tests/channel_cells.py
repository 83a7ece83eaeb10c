"""Problems of the reference as Jaxley cells with our channels: geometry, currents, runs."""

import jax.numpy as jnp
import jaxley as jx
import numpy as np
import reference
from jaxley.channels import Leak
from jaxsnn_mc.channels import AdEx, Fire, spike_times

LENGTH = 10.0  # um of a compartment; at 1 uF/cm2 it has 100 c_m um2 of area
PLACES = (1, 0, 2)  # of soma, apical, basal along the branch: soma between the others


def per_area(problem: reference.Problem) -> dict[str, float]:
    """The AdEx soma's parameters in Jaxley's units: S/cm2 = 1e-3 nS/pF at 1 uF/cm2, mA/cm2 alike."""
    (s,), c_m = problem.spiking, problem.c_m[0]
    values = {name: getattr(s, name) for name in ("v_exp", "delta_T", "tau_w", "v_th", "v_reset")}
    values |= {"t_ref": s.t_ref, "v_leak": problem.v_leak[0], "g_leak": s.g_exp / c_m * 1e-3}
    return values | {"a": s.a / c_m * 1e-3, "b": s.b / c_m * 1e-3}


def cell_of(problem: reference.Problem) -> jx.Cell:
    """A chain of soma (0), apical (1) and basal (2), with exactly the problem's couplings."""
    g = {j: conductance for _, j, conductance in problem.couplings}
    load = {0: 0.45e5 / max(g.values())}  # of a half compartment: G (nS) = 1e5 / (load + load)
    load |= {j: 1e5 / conductance - load[0] for j, conductance in g.items()}
    cell = jx.Cell([jx.Branch(jx.Compartment(), ncomp=3)], parents=[-1])
    for i, place in enumerate(PLACES):
        cell.branch(0).comp(place).insert(AdEx() if i == 0 else Leak())
        part = cell.branch(0).comp(place)
        radius = 100.0 * problem.c_m[i] / (2 * np.pi * LENGTH)
        resistivity = load[i] * np.pi * radius**2 / (LENGTH / 2)
        values = {"radius": radius, "length": LENGTH, "axial_resistivity": resistivity}
        values |= {"capacitance": 1.0, "v": problem.v_init[i]}
        if i == 0:
            values |= {f"AdEx_{name}": value for name, value in per_area(problem).items()}
        else:
            g_leak = problem.g_leak[i] / problem.c_m[i] * 1e-3
            values |= {"Leak_gLeak": g_leak, "Leak_eLeak": problem.v_leak[i]}
        for name, value in values.items():
            part.set(name, value)
    soma(cell).record("AdEx_since", verbose=False)
    soma(cell).record("v", verbose=False)
    return cell


def soma(cell: jx.Cell) -> jx.Module:
    return cell.branch(0).comp(PLACES[0])


def stimuli(cell: jx.Cell, problem: reference.Problem, t_max: float, dt: float):
    """The problem's input (nA), the mean of each step: no charge is lost."""
    edges = np.arange(round(t_max / dt) + 1) * dt
    data = None
    for i, place in enumerate(PLACES):
        charge = np.zeros_like(edges)
        for compartment, amplitude, start, stop in problem.steps:
            charge += amplitude * (np.clip(edges, start, stop) - start) * (compartment == i)
        for synapse in problem.synapses:
            for t, weight in zip(synapse.times, synapse.weights, strict=True):
                decayed = -np.expm1(-np.maximum(edges - t, 0.0) / synapse.tau)
                charge += weight * synapse.tau * decayed * (synapse.compartment == i)
        current = jnp.asarray(np.diff(charge) / dt * 1e-3)
        data = cell.branch(0).comp(place).data_stimulate(current, data_stimuli=data)
    return data


def run(problem: reference.Problem, t_max: float, dt: float, solver: str = "bwd_euler"):
    """Spike times (ms) and soma voltage (mV), from Jaxley's integrate."""
    cell = cell_of(problem)
    data = stimuli(cell, problem, t_max, dt)
    since, v = jx.integrate(cell, data_stimuli=data, delta_t=dt, solver=solver)
    return np.asarray(spike_times(since, dt)), np.asarray(v)


def leaky() -> jx.Branch:
    """A LIF neuron of one compartment, tau 10 ms, driven to -45 mV, with threshold -50 mV."""
    branch = jx.Branch(jx.Compartment(), ncomp=1)
    branch.insert(Leak())
    branch.insert(Fire())
    for name, value in {"Leak_gLeak": 1e-4, "Leak_eLeak": -65.0, "v": -65.0}.items():
        branch.set(name, value)
    branch.record("Fire_since", verbose=False)
    branch.record("v", verbose=False)
    return branch


def drive(module, density: float, n_steps: int):
    """The stimulus (nA) of a density (mA/cm2) into all of a module of one compartment."""
    return module.data_stimulate(jnp.full(n_steps, density) * module.base.nodes["area"][0] * 1e-2)
