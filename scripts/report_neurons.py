"""The two neurons of the report and their inputs. Units: ms, mV, pF, nS, pA."""

import jaxsnn_mc as mc

APICAL_SPIKES = (10.0, 30.0, 70.0, 100.0, 110.0, 150.0, 190.0)
SOMA_SPIKES = (20.0, 80.0, 140.0)


def table1() -> mc.Neuron:
    """Table 1: an AdEx soma with a passive apical and a passive basal dendrite."""
    soma = mc.AdEx(g_leak=10.0, v_leak=-65.0, v_exp=-50.0, delta_T=2.0, a=4.0, tau_w=100.0,
                   b=100.0, v_th=-40.0, v_reset=-70.0, t_ref=5.0)  # fmt: skip
    return mc.Neuron(
        compartments={
            "soma": mc.Compartment(c_m=125.0, mechanisms=[soma]),
            "apical": mc.Compartment(c_m=100.0, mechanisms=[mc.Leak(g_leak=2.0, v_leak=-65.0)]),
            "basal": mc.Compartment(c_m=50.0, mechanisms=[mc.Leak(g_leak=5.0, v_leak=-65.0)]),
        },
        couplings=[("soma", "apical", 5.0), ("soma", "basal", 5.0)],
    )


def table1_inputs() -> list[mc.StepCurrent]:
    """Table 1's input: 280 pA into the soma for the whole run."""
    return [mc.StepCurrent("soma", 280.0)]


def table2(tau_w: float = 100.0) -> mc.Neuron:
    """Table 2: synapses on soma and apical dendrite; `tau_w` (ms) is what the report trains."""
    soma = mc.AdEx(g_leak=10.0, v_leak=-65.0, v_exp=-55.0, delta_T=3.0, a=4.0, tau_w=tau_w,
                   b=100.0, v_th=-40.0, v_reset=-70.0, t_ref=5.0)  # fmt: skip
    synapse, leak = mc.CurrentSynapse(tau_syn=5.0), mc.Leak(g_leak=8.0, v_leak=-65.0)
    return mc.Neuron(
        compartments={
            "soma": mc.Compartment(c_m=120.0, mechanisms=[soma, synapse]),
            "apical": mc.Compartment(c_m=60.0, mechanisms=[leak, synapse]),
            "basal": mc.Compartment(c_m=40.0, mechanisms=[mc.Leak(g_leak=5.0, v_leak=-65.0)]),
        },
        couplings=[("soma", "apical", 30.0), ("soma", "basal", 5.0)],
    )


def table2_inputs(t_max: float = 200.0) -> list[mc.SpikeTrain]:
    """Table 2's input spikes before `t_max` (ms): 1000 pA each into apical, 300 pA into the soma."""
    apical = [t for t in APICAL_SPIKES if t < t_max]
    soma = [t for t in SOMA_SPIKES if t < t_max]
    return [mc.SpikeTrain("apical", apical, 1000.0), mc.SpikeTrain("soma", soma, 300.0)]
