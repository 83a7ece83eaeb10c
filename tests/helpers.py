"""What several tests share: the methods, and the reference's problems as our neurons."""

import jax.numpy as jnp
import numpy as np
import reference

import jaxsnn_mc as mc

euler = mc.ImplicitEuler()
splitting = mc.Splitting()
METHODS = [euler, splitting]


def neuron_and_inputs(problem: reference.Problem) -> tuple[mc.Neuron, list]:
    """A problem of the reference (numbers only) in this package's terms."""
    names = [f"c{i}" for i in range(len(problem.c_m))]
    spiking = {one.compartment: one for one in problem.spiking}
    compartments = {}
    for i, name in enumerate(names):
        g, v = problem.g_leak[i], problem.v_leak[i]
        mechanisms: list[mc.Mechanism] = (
            [adex(spiking[i], g, v)] if i in spiking else [mc.Leak(g, v)]
        )
        for k, synapse in enumerate(problem.synapses):
            if synapse.compartment == i:
                mechanisms.append(mc.CurrentSynapse(synapse.tau, name=f"syn{k}"))
        compartments[name] = mc.Compartment(problem.c_m[i], mechanisms, problem.v_init[i])
    couplings = [(names[i], names[j], g) for i, j, g in problem.couplings]
    inputs = []
    for where, amplitude, start, stop in problem.steps:
        ends = None if np.isinf(stop) else stop
        inputs.append(mc.StepCurrent(names[where], amplitude, start, ends))
    for k, synapse in enumerate(problem.synapses):
        train = (jnp.asarray(synapse.times, float), jnp.asarray(synapse.weights, float))
        inputs.append(mc.SpikeTrain(names[synapse.compartment], *train, f"syn{k}"))
    return mc.Neuron(compartments, couplings), inputs


def adex(s: reference.Spiking, g_leak: float, v_leak: float) -> mc.AdEx:
    return mc.AdEx(
        g_leak, v_leak, s.v_exp, s.delta_T, s.a, s.tau_w, s.b, s.v_th, s.v_reset, s.t_ref
    )
