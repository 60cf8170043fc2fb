from pathlib import Path

import pytest
import torch
from torch.overrides import TorchFunctionMode
from toy_run import ToyModel

from afa.engine.hooks.non_finite_hook import NonFiniteError, NonFiniteHook
from afa.engine.runner import build_runner
from afa.utils.checkpoint import load_state
from afa.utils.evaluating import random_states


@pytest.fixture(autouse=True)
def not_rehearsed(toy_cfg):
    """The tests count calls of the model."""
    toy_cfg.rehearse = False


@pytest.fixture
def spoil(monkeypatch):
    """Make the loss (or the gradient) of some iterations NaN or infinite."""

    def at(iterations, value=float("nan"), gradient=False):
        count, forward = iter(range(99)), ToyModel.forward

        def spoilt(model, inputs, target, mode="tensor"):
            out = forward(model, inputs, target, mode)
            if mode == "loss" and next(count) in iterations:
                bad = out["loss_toy"] * value
                if gradient:  # a finite loss, whose slope is not: the square root at 0
                    bad = out["loss_toy"] + (model.toy_head.linear.bias.sum() * 0).sqrt()
                return dict(loss_toy=bad, loss_good=out["loss_toy"].detach() * 0 + 2)
            return out

        monkeypatch.setattr(ToyModel, "forward", spoilt)

    return at


def _hook(cfg, **arguments):
    cfg.custom_hooks.append(dict(type="NonFiniteHook", **arguments))
    return cfg


def _state(cfg, name):
    return load_state(Path(cfg.work_dir, name))["state_dict"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_run_stops_before_the_step_and_says_why(toy_cfg, spoil, value):
    spoil({4}, value)
    runner = build_runner(toy_cfg)
    with pytest.raises(NonFiniteError) as error:
        runner.train()
    text = str(error.value)
    assert text.startswith(f"Iteration 4: loss_toy is {value}; images: unnamed; ")
    assert "loss_good" not in text and "\n" not in text
    assert "replay_step.py" in text and "clip_grad" in text and "max_skips" in text
    (dump,) = Path(toy_cfg.work_dir, "non_finite").iterdir()
    assert str(dump) in text and dump.name == "iter_4_process_0.pth"
    for name, weight in runner.model.named_parameters():
        assert torch.isfinite(weight).all(), name


def test_gradients_are_watched_too(toy_cfg, spoil):
    spoil({1}, gradient=True)
    with pytest.raises(NonFiniteError, match=r"Iteration 1: the gradients of toy_head.linear.bias"):
        build_runner(toy_cfg).train()


def test_gradients_are_left_alone_if_the_config_says_so(toy_cfg, spoil):
    spoil({1}, gradient=True)
    _hook(toy_cfg, check_gradients=False)
    # The step spoils the weights; the next loss shows it.
    with pytest.raises(NonFiniteError, match="Iteration 2: loss_toy is nan"):
        build_runner(toy_cfg).train()


@pytest.mark.parametrize("gradient", [False, True])
def test_as_many_steps_are_left_out_as_the_config_says(toy_cfg, tmp_path, spoil, gradient):
    toy_cfg.train_cfg.max_iters = 3
    short = toy_cfg.copy()
    short.work_dir = str(tmp_path / "short")
    short.train_cfg = dict(type="IterBasedTrainLoop", max_iters=2, val_interval=3)
    build_runner(short).train()
    spoil({2}, gradient=gradient)
    runner = build_runner(_hook(toy_cfg, max_skips=1))
    runner.train()
    assert runner.message_hub.get_info("num_skipped_steps") == 1
    before, after = _state(short, "iter_2.pth"), _state(toy_cfg, "iter_3.pth")
    for name in before:
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(before[name], after[name]), name
    log = Path(runner.log_dir, f"{runner.timestamp}.log").read_text()
    assert "It is step 1 of 1 left out." in log


def test_the_count_goes_on_in_a_resumed_run(toy_cfg, spoil):
    _hook(toy_cfg, max_skips=1)
    toy_cfg.train_cfg.max_iters = 3
    spoil({1})
    build_runner(toy_cfg).train()
    toy_cfg.train_cfg.max_iters = 6
    spoil({0})  # of those that are still to come
    with pytest.raises(NonFiniteError, match="Iteration 3"):
        build_runner(toy_cfg, resume="auto").train()


def test_spoilt_weights_are_not_saved(toy_cfg):
    runner = build_runner(toy_cfg)

    class Spoiler(type(runner.hooks[0]).__mro__[-2]):
        priority = "HIGHEST"

        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter == 5:
                runner.model.toy_head.linear.bias.data[1] = float("nan")

    runner.register_hook(Spoiler())
    with pytest.raises(NonFiniteError, match=r"the weights toy_head.linear.bias hold NaN or Inf"):
        runner.train()
    files = {path.name for path in Path(toy_cfg.work_dir).glob("*.pth")}
    assert "iter_3.pth" in files and "iter_6.pth" not in files


def test_the_run_is_the_same_with_and_without_the_hook(toy_cfg, tmp_path):
    build_runner(toy_cfg).train()
    cfg = toy_cfg.copy()
    cfg.work_dir = str(tmp_path / "without")
    runner = build_runner(cfg)
    runner._hooks = [hook for hook in runner.hooks if not isinstance(hook, NonFiniteHook)]
    runner.train()
    one, other = _state(toy_cfg, "iter_6.pth"), _state(cfg, "iter_6.pth")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_watch_is_taken_away_at_the_end(toy_cfg):
    runner = build_runner(toy_cfg)
    runner.train()
    assert "update_params" not in vars(runner.optim_wrapper) and "step" not in vars(
        runner.optim_wrapper
    )
    assert "parse_losses" not in vars(runner.model)


def test_gradients_are_clipped_as_mmengine_does(toy_cfg):
    toy_cfg.optim_wrapper.clip_grad = dict(max_norm=1e-9)
    before = build_runner(toy_cfg)
    start = before.model.toy_head.linear.weight.detach().clone()
    before.train()
    assert (before.model.toy_head.linear.weight - start).abs().max() < 1e-8
    assert "train/grad_norm" in before.message_hub.log_scalars


def test_fp16_keeps_its_scaler(toy_cfg):
    runner = build_runner(toy_cfg)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.optim_wrapper.loss_scaler = object()
    hook = NonFiniteHook()
    hook.before_train(runner)
    assert "update_params" in vars(runner.optim_wrapper)
    assert "step" not in vars(runner.optim_wrapper)


def test_random_states_are_what_the_generators_draw_from():
    states = random_states()
    first = torch.rand(1)
    torch.set_rng_state(states["torch"])
    assert torch.equal(torch.rand(1), first)
    assert len(states["numpy"][1]) == 624 and len(states["python"][1]) == 625


def test_argument_is_checked():
    with pytest.raises(ValueError, match="max_skips >= 0, got -1"):
        NonFiniteHook(max_skips=-1)


class _CountReads(TorchFunctionMode):
    """Count what makes the host wait for a GPU: reading values of a tensor."""

    reads = 0
    names = ("item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__float__", "__int__")

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.reads += getattr(func, "__name__", "") in self.names
        return func(*args, **(kwargs or {}))


def test_an_iteration_waits_once_and_losses_come_along(toy_cfg, monkeypatch):
    counts, train_step = [], ToyModel.train_step

    def counted(model, data, optim_wrapper):
        with _CountReads() as mode:
            outputs = train_step(model, data, optim_wrapper)
        counts.append(mode.reads)
        assert {type(value) for value in outputs.values()} == {float}
        return outputs

    monkeypatch.setattr(ToyModel, "train_step", counted)
    build_runner(_hook(toy_cfg)).train()
    assert counts and set(counts) == {1}


def test_a_bad_loss_does_not_get_into_gathered_gradients(toy_cfg, spoil):
    spoil({0})
    toy_cfg.optim_wrapper.accumulative_counts = 2
    runner = build_runner(_hook(toy_cfg, max_skips=1))
    runner.train()
    for name, weight in runner.model.named_parameters():
        assert torch.isfinite(weight).all(), name
    assert runner.message_hub.runtime_info["num_skipped_steps"] == 1
