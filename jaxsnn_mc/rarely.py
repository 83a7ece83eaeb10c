"""A branch that few members of a batch take: `rarely(needed, long_way, short, *operands)`.

Under vmap, `lax.cond` computes both branches for the whole batch; and its derivative stores what the
long way would need at each step, taken or not. Here only the members that need the long way take it
(on a CPU one after the other, in scalar code, which also compiles faster), and nothing is stored:
backwards it is computed again. It is a JAX primitive of its own, with the rules for vmap and for both
modes of differentiation, of any order.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Primitive, jaxpr_as_fun
from jax.interpreters import ad, batching, mlir
from jax.interpreters import partial_eval as pe
from jaxtyping import Array, Bool


def rarely(needed: Bool[Array, ""], long_way: Callable, short: Any, *operands: Any) -> Any:
    """`long_way(short, *operands)` where it is needed, otherwise the pytree `short`.

    `long_way` returns what has the structure, shapes and types of `short`, and closes over no traced
    values: all that it depends on are its operands. Raises ValueError where it does not.
    """
    leaves, tree = jax.tree.flatten((short, *operands))
    kept, kept_tree = jax.tree.flatten(short)

    def flat(*leaves):
        return jax.tree.leaves(long_way(*jax.tree.unflatten(tree, leaves)))

    leaves = [jnp.asarray(x) for x in leaves]
    jaxpr = jax.make_jaxpr(flat)(*leaves)
    long, wanted = (
        [a.str_short() for a in x] for x in (jaxpr.out_avals, jaxpr.in_avals[: len(kept)])
    )
    if long != wanted:
        raise ValueError(f"The long way must return what the short one is, {wanted}, got {long}.")
    alone = (False,) * len(leaves)
    return jax.tree.unflatten(
        kept_tree, _bind(needed, leaves, jaxpr, range(len(kept)), None, alone)
    )


_rarely = Primitive("rarely")
_rarely.multiple_results = True


def _bind(
    needed: Array,
    operands: Sequence[Array],
    jaxpr: ClosedJaxpr,
    keep: Sequence[int | None],
    lanes: int | None,
    along: Sequence[bool],
) -> list[Array]:
    """The primitive: the outputs of `jaxpr` where needed, otherwise output k is the operand `keep[k]`,
    or zero if that is None. Operands that do not matter are left out.

    In a batch of `lanes` members, `needed`, all outputs and the operands that `along` marks (those
    kept among them) have a leading axis of that length; `jaxpr` is that of one member.
    """
    used, params = _prune([True] * len(keep), jaxpr, keep, along)
    operands = [x for x, u in zip(operands, used, strict=True) if u]
    return _rarely.bind(needed, *operands, lanes=lanes, **params)


def _prune(outputs, jaxpr, keep, along) -> tuple[list[bool], dict[str, Any]]:
    """For the outputs that are wanted, which operands matter, and the parameters without the others."""
    keep = [i for i, wanted in zip(keep, outputs, strict=True) if wanted]
    kept = [i in keep for i in range(len(along))]
    small, used = pe.dce_jaxpr(jaxpr.jaxpr, list(outputs), kept)
    at = [i for i, u in enumerate(used) if u]
    return used, {
        "jaxpr": ClosedJaxpr(small, jaxpr.consts),
        "keep": tuple(None if i is None else at.index(i) for i in keep),
        "along": tuple(along[i] for i in at),
    }


@_rarely.def_abstract_eval
def _shapes(*_, jaxpr, lanes, **__):
    lead = () if lanes is None else (lanes,)
    return [a.update(shape=(*lead, *a.shape), weak_type=False) for a in jaxpr.out_avals]


# --- computing it ---------------------------------------------------------------------------------


def _together(needed, *operands, jaxpr, keep, lanes, along):
    """All members side by side, if one of them needs it: what suits a GPU."""
    short, run = _short(operands, jaxpr, keep, lanes), jaxpr_as_fun(jaxpr)
    if lanes is None:
        return lax.cond(needed, lambda: run(*operands), lambda: short)

    def all_of_them():
        long = jax.vmap(run, [0 if b else None for b in along], axis_size=lanes)(*operands)
        return jax.tree.map(jax.vmap(jnp.where, (0, 0, 0)), [needed] * len(long), long, short)

    return lax.cond(jnp.any(needed), all_of_them, lambda: short)


def _one_by_one(needed, *operands, jaxpr, keep, lanes, along):
    """Each member that needs it in turn: what suits a CPU."""
    if lanes is None:
        return _together(needed, *operands, jaxpr=jaxpr, keep=keep, lanes=lanes, along=along)
    short, run = _short(operands, jaxpr, keep, lanes), jaxpr_as_fun(jaxpr)
    number = jnp.arange(lanes)

    def following(lane):
        return jnp.min(jnp.where(needed & (number > lane), number, lanes))

    def one(carry):
        lane, outputs = carry
        # Kept operands are read where they are overwritten: else XLA copies them.
        here = dict(enumerate(operands)) | dict(zip(keep, outputs, strict=True))
        mine = (
            lax.dynamic_index_in_dim(here[i], lane, keepdims=False) if b else here[i]
            for i, b in enumerate(along)
        )
        outputs = [
            lax.dynamic_update_index_in_dim(x, new, lane, 0)
            for x, new in zip(outputs, run(*mine), strict=True)
        ]
        return following(lane), outputs

    def each():
        return lax.while_loop(lambda carry: carry[0] < lanes, one, (following(-1), short))[1]

    return lax.cond(jnp.any(needed), each, lambda: short)


def _short(operands, jaxpr, keep, lanes) -> list[Array]:
    lead = () if lanes is None else (lanes,)
    return [
        jnp.zeros((*lead, *a.shape), a.dtype) if i is None else operands[i]
        for i, a in zip(keep, jaxpr.out_avals, strict=True)
    ]


_rarely.def_impl(_together)
mlir.register_lowering(_rarely, mlir.lower_fun(_together, multiple_results=True))
mlir.register_lowering(_rarely, mlir.lower_fun(_one_by_one, multiple_results=True), platform="cpu")


# --- transforming it ------------------------------------------------------------------------------


def _batch(args, dims, *, jaxpr, keep, lanes, along):
    """A batch of batches is one long batch."""
    size = next(x.shape[d] for x, d in zip(args, dims, strict=True) if d is not None)
    lead = (size,) if lanes is None else (size, lanes)

    def long(x, dim, had_lanes: bool):
        """With all of the leading axes, as one."""
        x = x[None] if dim is None else jnp.moveaxis(x, dim, 0)
        if lanes is not None and not had_lanes:
            x = x[:, None]
        x = jnp.broadcast_to(x, (*lead, *x.shape[len(lead) :]))
        return lax.collapse(x, 0, len(lead))

    (needed, *operands), (dim, *dims) = args, dims
    wide = [
        had or d is not None or i in keep
        for i, (d, had) in enumerate(zip(dims, along, strict=True))
    ]
    operands = [
        long(x, d, had) if w else x
        for x, d, had, w in zip(operands, dims, along, wide, strict=True)
    ]
    needed = long(needed, dim, lanes is not None)
    outputs = _bind(needed, operands, jaxpr, keep, needed.size, wide)
    return [x.reshape(*lead, *x.shape[1:]) for x in outputs], [0] * len(outputs)


def _jvp(primals, tangents, *, jaxpr, keep, lanes, along):
    """The derivative is another such branch, linear in the tangents."""
    needed, *operands = primals
    outputs = _bind(needed, operands, jaxpr, keep, lanes, along)
    zeros = [ad.Zero(jax.typeof(x).to_tangent_aval()) for x in outputs]
    moving = [i for i, t in enumerate(tangents[1:]) if not isinstance(t, ad.Zero)]
    real = [k for k, a in enumerate(jaxpr.out_avals) if jnp.issubdtype(a.dtype, jnp.inexact)]

    def derivative(*args):
        values = list(args[: len(operands)])

        def run(*some):
            full = dict(enumerate(values)) | dict(zip(moving, some, strict=True))
            found = jaxpr_as_fun(jaxpr)(*(full[i] for i in range(len(values))))
            return [found[k] for k in real]

        return jax.jvp(run, [values[i] for i in moving], list(args[len(operands) :]))[1]

    d_jaxpr = jax.make_jaxpr(derivative)(*jaxpr.in_avals, *(jaxpr.in_avals[i] for i in moving))
    place = {i: len(operands) + n for n, i in enumerate(moving)}
    found = _bind(
        needed,
        [*operands, *(tangents[1 + i] for i in moving)],
        d_jaxpr,
        [place.get(keep[k]) for k in real],
        lanes,
        [*along, *(along[i] for i in moving)],
    )
    moved = dict(zip(real, found, strict=True))
    return outputs, [moved.get(k, zero) for k, zero in enumerate(zeros)]


def _transpose(cotangents, needed, *operands, jaxpr, keep, lanes, along):
    """The transpose is another such branch, linear in the cotangents."""
    linear = [i for i, x in enumerate(operands) if ad.is_undefined_primal(x)]
    known = [i for i in range(len(operands)) if i not in linear]
    some = [k for k, ct in enumerate(cotangents) if not isinstance(ct, ad.Zero)]

    def transposed(*args):
        values = dict(zip(known, args[: len(known)], strict=True))
        given = dict(zip(some, args[len(known) :], strict=True))
        full = [given.get(k, jnp.zeros(a.shape, a.dtype)) for k, a in enumerate(jaxpr.out_avals)]

        def run(*some):
            full = values | dict(zip(linear, some, strict=True))
            return jaxpr_as_fun(jaxpr)(*(full[i] for i in range(len(operands))))

        return jax.linear_transpose(run, *(jaxpr.in_avals[i] for i in linear))(full)

    avals = [*(jaxpr.in_avals[i] for i in known), *(jaxpr.out_avals[k] for k in some)]
    place = {keep[k]: len(known) + n for n, k in enumerate(some)}
    found = _bind(
        needed,
        [*(operands[i] for i in known), *(cotangents[k] for k in some)],
        jax.make_jaxpr(transposed)(*avals),
        [place.get(i) for i in linear],
        lanes,
        [*(along[i] for i in known), *(lanes is not None for _ in some)],
    )
    shared = [lanes is not None and not along[i] for i in linear]
    found = [x.sum(0) if s else x for x, s in zip(found, shared, strict=True)]
    given = dict(zip(linear, found, strict=True))
    return [None, *(given.get(i) for i in range(len(operands)))]


def _dce(wanted, eqn):
    """Without the outputs that nobody wants: else a run would keep what only they need at each step."""
    if not any(wanted):
        return [False] * len(eqn.invars), None
    given = {name: eqn.params[name] for name in ("jaxpr", "keep", "along")}
    used, params = _prune(wanted, **given)
    used = [True, *used]
    return used, eqn.replace(
        invars=[v for v, u in zip(eqn.invars, used, strict=True) if u],
        outvars=[v for v, w in zip(eqn.outvars, wanted, strict=True) if w],
        params=eqn.params | params,
    )


batching.primitive_batchers[_rarely] = _batch
pe.dce_rules[_rarely] = _dce
ad.primitive_jvps[_rarely] = _jvp
ad.primitive_transposes[_rarely] = _transpose
