"""A run of training: its batches, stops, files and messages, judged against uninterrupted runs."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fitting import LEAK, TAU_W, G, assert_same, distance_to, quiet, small

import jaxsnn_mc as mc
from jaxsnn_mc.fit import Fit, random_starts


def test_minibatches() -> None:
    """Judged against the losses of each batch in turn; shuffled, every pass takes all of them."""
    data = jnp.array([60.0, 80.0, 120.0])
    still = optax.sgd(0.0)
    losses = quiet(small(), distance_to, [TAU_W], still, 6, batches=data).losses
    one = [(100.0 / x - 1.0) ** 2 for x in data]
    assert np.allclose(losses, one * 2)
    listed = quiet(small(), distance_to, [TAU_W], still, 6, batches=[60.0, 80.0, 120.0])
    assert np.allclose(listed.losses, one * 2)
    with_key = {"batches": data, "key": jax.random.key(1)}
    shuffled = quiet(small(), distance_to, [TAU_W], still, 12, **with_key).losses.reshape(4, 3)
    assert np.allclose(np.sort(shuffled, axis=1), np.sort(one))
    assert len({tuple(row) for row in shuffled.round(9).tolist()}) > 1
    with pytest.raises(ValueError, match="batches ended"):
        quiet(small(), distance_to, [TAU_W], still, 6, batches=iter([60.0, 80.0]))


def test_a_step_is_traced_once() -> None:
    """Judged by counting calls, with new numbers in each batch, weak types and a schedule."""
    count = []

    def loss(neuron: mc.Neuron, batch: dict) -> jax.Array:
        count.append(1)
        return distance_to(neuron, batch["tau_w"])

    batches = [{"tau_w": 60.0 + i} for i in range(7)]
    optimizer = optax.chain(optax.clip(1.0), optax.adam(optax.cosine_decay_schedule(1.0, 10)))
    quiet(small(), loss, [TAU_W], optimizer, batches=batches)
    assert len(count) == 1


def test_stops_early() -> None:
    """Judged against the step of the lowest loss."""
    found = quiet(
        small(), lambda n: (n.get(TAU_W) - 98.5) ** 2, [TAU_W], optax.sgd(0.5), 50, patience=4
    )
    assert len(found.losses) == found.best_step + 5 < 50
    assert found.stopped == f"no lower loss since step {found.best_step}"
    assert float(found.best.get(TAU_W)) == found.history[TAU_W][found.best_step]


def test_names_where_numbers_break() -> None:
    """Judged against the parameter and the step at which the loss was made to break."""

    def loss(neuron: mc.Neuron) -> jax.Array:
        g, leak = neuron.get(G), neuron.get(LEAK)
        return jnp.sqrt(jnp.where(g > 4.5, (g - 4.5) ** 4, -g)) + leak

    sign = optax.chain(optax.scale_by_sign(), optax.sgd(0.2))
    with pytest.warns(RuntimeWarning, match=rf"in step \d+ .*gradient of {G} is not finite"):
        found = quiet(small(), loss, [G, LEAK], sign)
    step = len(found.losses) - 1
    assert f"in step {step} the loss is nan" in found.stopped
    assert np.isnan(found.losses[step])
    assert np.all(np.isfinite(found.losses[:step]))
    assert np.isfinite(found.neuron.get(G))
    starts = {G: jnp.array([5.0, 50.0])}
    with pytest.warns(RuntimeWarning, match="of start 0"):
        both = quiet(small(), loss, [G, LEAK], sign, starts=starts)
    assert both.losses.shape == (2, 20)
    assert np.all(np.isfinite(both.losses[1]))
    assert both.stopped[1] == "all steps done"


@pytest.mark.parametrize("many", [False, True])
def test_resumes_to_the_same_bits(many: bool, tmp_path: Path) -> None:
    """Judged against a fit that was not interrupted."""
    starts = random_starts(small(), [TAU_W, G], 3, jax.random.key(0)) if many else None
    kwargs = {"batches": jnp.arange(60.0, 70.0), "key": jax.random.key(3), "starts": starts}

    def go(steps: int, **more) -> Fit:
        return quiet(small(), distance_to, [TAU_W, G], optax.adam(1.0), steps, **kwargs, **more)

    whole, file = go(25), tmp_path / "fit"
    go(11, save=file, save_every=4)
    resumed = go(25, resume=file, save=file)
    if many:
        assert np.array_equal(whole.losses, resumed.losses)
        assert np.array_equal(whole.neuron.get(TAU_W), resumed.neuron.get(TAU_W))
    else:
        assert_same(whole, resumed)
    assert [p.name for p in tmp_path.iterdir()] == ["fit"]
    assert json.loads(file.read_bytes().split(b"\n")[0])["step"] == 25


def test_refuses_files_that_do_not_fit(tmp_path: Path) -> None:
    """Judged against ValueError for files cut, altered, or of another fit."""
    file, bad = tmp_path / "fit", tmp_path / "bad"
    quiet(small(), save=file, steps=3)
    content = file.read_bytes()
    altered = bytearray(content)
    altered[-5] ^= 1
    for wrong in (content[:-10], bytes(altered), content[:20], b"", b"\x93NUMPY\n", b"[]\n"):
        bad.write_bytes(wrong)
        with pytest.raises(ValueError, match=r"damaged|not a file"):
            quiet(small(), resume=bad)
    bad.write_bytes(content.replace(b'"version": 1', b'"version": 9'))
    with pytest.raises(ValueError, match="version 9"):
        quiet(small(), resume=bad)
    with pytest.raises(ValueError, match="another fit"):
        quiet(small(), resume=file, optimizer=optax.sgd(0.1))
    with pytest.raises(ValueError, match="another neuron"):
        quiet(small().set({"soma.c_m": 90.0}), resume=file)
    with pytest.raises(ValueError, match="not of"):
        quiet(small(), trainable=[G], resume=file)


def test_progress_changes_nothing(capsys: pytest.CaptureFixture) -> None:
    """Judged against a run without a bar; in a pipe it prints few lines."""
    silent = quiet(small())
    assert capsys.readouterr().err == ""
    assert_same(silent, quiet(small(), progress=True))
    shown = capsys.readouterr().err
    assert all(part in shown for part in ("loss", "20/20", "step/s"))
    assert shown.count("\r") <= 4


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"trainable": TAU_W}, "list of paths"),
        ({"trainable": []}, "different parameters"),
        ({"trainable": ["soma.AdEx.tau"]}, "no parameter 'tau'"),
        ({"trainable": ["soma.AdEx.t_ref"]}, "starts at 0"),
        ({"bounds": {"soma.c_m": (0.0, 1.0)}}, "not trained"),
        ({"bounds": {TAU_W: (200.0, 300.0)}}, "above 200"),
        ({"bounds": {TAU_W: (200.0, 100.0)}}, "must be"),
        ({"scale": "mine"}, "initial"),
        ({"scale": 0.0}, "positive"),
        ({"starts": {TAU_W: 3.0}}, "leading axis"),
        ({"starts": {TAU_W: jnp.ones((3, 2))}}, "must be"),
        ({"starts": {TAU_W: jnp.ones(3), G: jnp.ones(2)}}, "leading axis"),
        ({"batches": {"a": jnp.ones(3), "b": jnp.ones(2)}}, "leading axis"),
        ({"batches": 3.0}, "iterable"),
        ({"steps": 0}, "positive integer"),
        ({"patience": 0}, "positive number"),
        ({"loss": lambda n: n.c_m}, "scalar"),
    ],
)
def test_bad_arguments(kwargs: dict, message: str) -> None:
    """Judged against ValueError that says what is wrong."""
    with pytest.raises(ValueError, match=message):
        quiet(small(), **kwargs)
