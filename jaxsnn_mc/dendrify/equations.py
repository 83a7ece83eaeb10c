"""A Dendrify model's equations, recognised one by one; what is not Dendrify's own is refused by name.

Neither Dendrify nor Brian is imported: only the objects are read, quantities in their SI base units.
"""

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from ..checks import as_positive
from ..mechanism import Mechanism
from ..mechanisms import AMPA, GABA, LIF, NMDA, AdaptiveLIF, AdEx, CAdIF, DendriticPulse, Leak

MV = MS = 1e3
PF = PA = 1e12
NS = 1e9
"""What multiplies a number in SI base units (V, s, F, A, S), to be in ours."""

Equations = dict[str, str]
"""Right-hand sides by left-hand sides ("V'" is dV/dt), without spaces and units."""

_LEAK = "gL*(EL-V)"
_EXPONENTIAL = "+gL*DeltaT*exp((V-Vth)/DeltaT)"
_MEMBRANES: tuple[tuple[Any, Equations], ...] = (
    (LIF, {"V'": f"({_LEAK}+I)/C"}),
    (AdaptiveLIF, {"V'": f"({_LEAK}+I-w)/C", "w'": "(a*(V-EL)-w)/tauw"}),
    (AdEx, {"V'": f"({_LEAK}{_EXPONENTIAL}+I-w)/C", "w'": "(a*(V-EL)-w)/tauw"}),
    (CAdIF, {"V'": f"({_LEAK}+I-w)/C", "w": "gA*(V-EA)", "gA'": "(gAmax*(abs(V-EA))/mV-gA)/tauA"}),
)
_BLOCK = "/(1+Mg_con*exp(-Alpha_NMDA*(V/mV+Gamma_NMDA))/Beta_NMDA)"
_NOISE = "(mean_noise-I_noise)/tau_noise+sigma_noise*(sqrt(2/(tau_noise*dt))*randn())"
_CUSTOM = (
    "Only Dendrify's own equations can be carried over; {} is custom. Write it as a mechanism "
    "(mc.Mechanism) and place it on the neuron."
)
_RECEPTORS: dict[str, Any] = {"AMPA": AMPA, "NMDA": NMDA, "GABA": GABA}


class Reader:
    """A compartment's equations, taken one by one until none is left, and its parameters.

    Names lose the compartment's: "V_dist" is "V".
    """

    def __init__(self, model: Any, name: str, text: str, parameters: Mapping[str, Any]):
        self.where, self.parameters = name, parameters
        self.suffix = f"_{name}" if pairs(model) is not None else ""
        parsed = _parse(text, name)
        self.lines = {self.plain(left): line for left, (_, line) in parsed.items()}
        raw = {left: right for left, (right, _) in parsed.items()}
        terms = raw.pop(f"I{self.suffix}", "").split("+")
        for a, b in pairs(model) or ():
            if name in (a, b):
                other = b if name == a else a
                current = f"I_{other}_{name}"
                wanted = f"(V_{other}-V_{name})*g_{other}_{name}"
                if raw.pop(current, None) != wanted or current not in terms:
                    self.refuse(self.plain(current))
                terms.remove(current)
        self.left = {self.plain(left): self.plain(right) for left, right in raw.items()}
        self.terms = [self.plain(term) for term in terms]
        self.take({"I_ext": ""})
        self.count("I_ext")
        found = [re.fullmatch(r"I_(AMPA|NMDA|GABA)_(.+)", left) for left in self.left]
        self.synapses = [(match[1], match[2]) for match in found if match]
        self.spikes = [left[len("I_rise_") :] for left in self.left if left.startswith("I_rise_")]

    def plain(self, text: str) -> str:
        return re.sub(rf"{re.escape(self.suffix)}\b", "", text) if self.suffix else text

    def __call__(self, name: str, scale: float, shared: bool = False) -> Any:
        """A parameter; `shared`, whether all compartments have one under this name."""
        key = name if shared else name + self.suffix
        value = self.parameters.get(key)
        if value is None:
            raise ValueError(
                f"The Dendrify model has no value for {key!r}; give it by model.add_params({{{key!r}: "
                "...}) (Dendrify drops a value of 0, too)."
            )
        if scale != 1.0 and value != 0 and not hasattr(value, "dim"):
            raise ValueError(
                f"The Dendrify model's {key!r} has no unit, it is {value!r}; give it one."
            )
        return number(value, key, scale)

    def take(self, wanted: Equations) -> None:
        """Takes equations that must be there."""
        for left, right in wanted.items():
            if self.left.pop(left, None) != right:
                self.refuse(left)

    def refuse(self, left: str) -> NoReturn:
        line = self.lines.get(left, f"{left} (which is missing)")
        raise ValueError(_CUSTOM.format(f"in {self.where!r} {line!r}"))

    def finish(self) -> None:
        """Raises ValueError if there is an equation or a current that was not taken."""
        for left in [*self.left, *self.terms]:
            self.refuse(left)

    def membrane(self, resets: dict[str, Any] | None, b: Any) -> Mechanism:
        """Leak, adaptation and, with `resets`, the spike."""
        v = self.left.get("V'")
        kinds = [
            (kind, wanted)
            for kind, wanted in _MEMBRANES
            if wanted["V'"] == v and wanted.keys() <= self.left.keys()
        ]
        if not kinds:
            self.refuse("V'")
        kind, wanted = kinds[0]
        self.take(wanted)
        values: dict[str, Any] = {"g_leak": self("gL", NS), "v_leak": self("EL", MV)}
        if resets is None:
            if kind is not LIF:
                raise ValueError(
                    f"The adaptation in {self.where!r} belongs to a soma that fires; give threshold "
                    "and reset (and soma=...)."
                )
            return Leak(**values)
        if kind in (AdaptiveLIF, AdEx):
            values |= {"a": self("a", NS), "tau_w": self("tauw", MS)}
        if kind is AdEx:
            values |= {"v_exp": self("Vth", MV), "delta_T": self("DeltaT", MV)}
        if kind is CAdIF:
            v_a = self("EA", MV, shared=True)
            values |= {"a": self("gAmax", NS, shared=True), "tau_a": self("tauA", MS, shared=True)}
            values |= {"v_a": v_a, "e_a": v_a}
        if kind is not LIF:
            values["b"] = number(0.0 if b is None else b, "b", NS if kind is CAdIF else PA)
        elif b is not None:
            raise ValueError(f"The soma {self.where!r} has no adaptation, but b={b!r} was given.")
        return kind(**values, **resets, frozen=False)

    def receptor(self, channel: str, tag: str) -> Mechanism:
        """A synapse: with rise, or else opened by `s` itself."""
        of = f"{channel}_{tag}"
        rises = f"x_{of}'" in self.left
        block = _BLOCK if channel == "NMDA" else ""
        gate = f"{'x' if rises else 's'}_{of}"
        wanted = {f"s_{of}'": f"-s_{of}/t_{channel}_{'rise' if rises else 'decay'}_{tag}"}
        if rises:
            wanted[f"x_{of}'"] = f"(-x_{of}/t_{channel}_decay_{tag})+s_{of}/ms"
        wanted[f"I_{of}"] = f"g_{of}*(E_{channel}-V)*{gate}{block}*w_{of}"
        self.take(wanted)
        self.count(f"I_{of}")
        values: dict[str, Any] = {
            "g": self(f"g_{of}", NS) * self(f"w_{of}", 1.0),
            "tau_decay": self(f"t_{channel}_decay_{tag}", MS),
            "tau_rise": self(f"t_{channel}_rise_{tag}", MS) if rises else None,
            "e": self(f"E_{channel}", MV, shared=True),
        }
        if channel == "NMDA":
            for name, key in (("mg", "Mg_con"), ("alpha", "Alpha_NMDA"), ("beta", "Beta_NMDA")):
                values[name] = self(key, 1.0, shared=True)
            values["gamma"] = self("Gamma_NMDA", 1.0, shared=True)
        return _RECEPTORS[channel](**values, normalised=False, name=of)

    def dspike(self, name: str, dt: float | None) -> Mechanism:
        """A dendritic spike of rectangular pulses."""
        since, n = f"spiketime_{name}", "t_in_timesteps"
        start = f"{since}+offset_fall_{name}"
        rises = f"int({n}<={since}+duration_rise_{name})"
        falls = f"int({n}<={start}+duration_fall_{name})*int({n}>={start})"
        self.take(
            {
                f"I_rise_{name}": f"g_rise_{name}*(E_rise_{name}-V)",
                f"I_fall_{name}": f"g_fall_{name}*(E_fall_{name}-V)",
                f"g_rise_{name}": f"g_rise_max_{name}*{rises}*gate_{name}",
                f"g_fall_{name}": f"g_fall_max_{name}*{falls}*gate_{name}",
                since: "",
                f"gate_{name}": "",
            }
        )
        self.count(f"I_rise_{name}", f"I_fall_{name}")
        step = _brian_dt() if dt is None else as_positive(dt, "dt")
        return DendriticPulse(
            g_rise=self(f"g_rise_max_{name}", NS),
            g_fall=self(f"g_fall_max_{name}", NS),
            e_rise=self(f"E_rise_{name}", MV, shared=True),
            e_fall=self(f"E_fall_{name}", MV, shared=True),
            v_th=self(f"Vth_{name}", MV),
            duration_rise=step * self(f"duration_rise_{name}", 1.0),
            duration_fall=step * self(f"duration_fall_{name}", 1.0),
            offset=step * self(f"offset_fall_{name}", 1.0),
            t_ref=step * self(f"refractory_{name}", 1.0),
            name=name,
        )

    def noise(self) -> dict[str, float] | None:
        """The parameters of the noise, if there is any."""
        if "I_noise" not in self.terms:
            return None
        self.take({"I_noise'": _NOISE})
        self.count("I_noise")
        scales = {"tau": MS, "sigma": PA, "mean": PA}
        return {name: self(f"{name}_noise", scale) for name, scale in scales.items()}

    def count(self, *currents: str) -> None:
        """Takes currents from the sum of all, in which they must be."""
        for current in currents:
            if current not in self.terms:
                self.refuse("I")
            self.terms.remove(current)


def compartments_of(model: Any) -> dict[str, str]:
    """The equations of each compartment by its name."""
    if not hasattr(model, "equations") or not hasattr(model, "parameters"):
        raise ValueError(
            f"Expected a NeuronModel or PointNeuronModel of Dendrify, got a {type(model).__name__}."
        )
    if pairs(model) is None:
        return {"soma": model.equations}
    extra = model._extra_equations
    if extra:
        raise ValueError(_CUSTOM.format(repr(extra.strip())))
    return {part.name: part.equations for part in model._compartments}


def pairs(model: Any) -> list[tuple[str, str]] | None:
    """The coupled compartments; None for a point neuron."""
    return getattr(model, "_graph", None)


def _parse(text: str, where: str) -> dict[str, tuple[str, str]]:
    """Right-hand sides and whole lines by left-hand sides."""
    equations: dict[str, tuple[str, str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        match = re.fullmatch(r"(?:d(\w+)/dt|(\w+))(?:=(.*))?:\w+", re.sub(r"\s", "", line))
        left = "" if match is None else f"{match[1]}'" if match[1] else match[2]
        if match is None or left in equations:
            raise ValueError(_CUSTOM.format(f"in {where!r} {line!r}"))
        equations[left] = match[3] or "", line
    return equations


def number(value: Any, what: str, scale: float) -> Any:
    """A Brian quantity times `scale`, or a number as it is."""
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{what} must be a number or a Brian quantity, got {value!r}; of a string such as "
            "'V_soma > -40*mV' give the number, -40."
        ) from None
    return number * scale if hasattr(value, "dim") else number


def _brian_dt() -> float:
    """The time step of Brian's default clock (ms)."""
    from brian2 import defaultclock  # pyright: ignore[reportMissingImports]

    return float(defaultclock.dt) * MS
