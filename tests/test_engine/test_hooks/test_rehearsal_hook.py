"""What would fail late fails before the first iteration; a rehearsed run is the same run."""

from types import SimpleNamespace

import pytest
import torch
import torch.distributed as torch_dist
from mmengine.optim import OptimWrapper
from toy_run import ToyMetric, ToyModel, losses

from afa.engine.config import load_config
from afa.engine.dist import AFADistributedDataParallel
from afa.engine.hooks import RehearsalHook, rehearsal_hook
from afa.engine.hooks.phase_hook import PhaseHook
from afa.engine.hooks.rehearsal_hook import RehearsalError
from afa.engine.runner import build_runner
from afa.models import AFA
from afa.models.refiners import PAR
from afa.utils.evaluating import random_states


def _train(cfg, work_dir, **changes):
    cfg.work_dir = str(work_dir)
    cfg.merge_from_dict(changes)
    runner = build_runner(cfg)
    runner.train()
    return runner


def test_losses_weights_and_buffers_are_those_of_a_run_without(toy_cfg, tmp_path):
    """Without ReproducibleHook, whose seeds would hide what a rehearsal has drawn."""
    toy_cfg.custom_hooks = []
    toy_cfg.train_dataloader.sampler.type = "InfiniteSampler"
    runners = [_train(toy_cfg, tmp_path / str(on), rehearse=on) for on in (True, False)]
    assert losses(runners[0]) == losses(runners[1]) and len(losses(runners[0])) == 6
    for one, other in zip(*(runner.model.state_dict().values() for runner in runners), strict=True):
        assert torch.equal(one, other)
    hooks = [[type(hook) for hook in runner.hooks] for runner in runners]
    assert RehearsalHook in hooks[0] and RehearsalHook not in hooks[1]


def test_afa_is_rehearsed_in_every_phase_and_left_as_it_was(world, monkeypatch):
    cfg = load_config("afa.py")
    seen, noted, loss, metric = [], [], AFA.loss, rehearsal_hook._validate

    def noting(model, inputs, data_samples):
        seen.append((model.phase, len(inputs), tuple(inputs.shape[2:]), model.training))
        return loss(model, inputs, data_samples)

    def state(runner):
        model = runner.model
        return (
            {name: value.clone() for name, value in model.state_dict().items()},
            [module.training for module in model.modules()],
            model.phase,
            random_states(),
            [parameter.grad for parameter in model.parameters()],
            [vars(metric).get("confusion") for metric in runner.val_loop.evaluator.metrics],
        )

    before_train = RehearsalHook.before_train

    def compared(hook, runner):
        noted.append(state(runner))
        before_train(hook, runner)
        noted.append(state(runner))
        noted.append(list(seen))

    monkeypatch.setattr(AFA, "loss", noting)
    monkeypatch.setattr(RehearsalHook, "before_train", compared)
    monkeypatch.setattr(
        rehearsal_hook, "_validate", lambda *args: (seen.append("val"), metric(*args))
    )
    build_runner(cfg).train()
    before, after, rehearsed = noted
    crop = (2, (32, 32), True)
    assert rehearsed == [("cls", *crop), ("propagated", *crop), "val"]
    torch.testing.assert_close(before[0], after[0], rtol=0, atol=0)
    assert before[1:3] == after[1:3] and set(after[4]) == {None} and set(after[5]) == {None}
    assert str(before[3]["python"]) == str(after[3]["python"])
    assert torch.equal(before[3]["numpy"][1], after[3]["numpy"][1])
    assert torch.equal(before[3]["torch"], after[3]["torch"])


@pytest.mark.parametrize(
    ("iteration", "phases"),
    [(0, ["warm", "cut"]), (1, ["warm", "cut"]), (2, ["cut"]), (5, ["cut"])],
)
def test_phases_that_are_still_to_come(iteration, phases):
    hook = PhaseHook(dict(warm=0, cut=2, walked=6))
    loop = SimpleNamespace(iter=iteration, max_iters=6)
    runner = SimpleNamespace(hooks=[hook], train_loop=loop)
    assert rehearsal_hook._phases_to_come(runner, None) == phases
    runner.hooks = []
    assert rehearsal_hook._phases_to_come(runner, SimpleNamespace(phase="cut")) == ["cut"]
    assert rehearsal_hook._phases_to_come(runner, SimpleNamespace()) == [None]


def test_a_part_that_fails_late_fails_at_once(world, monkeypatch):
    """The refiner is asked for two sets of masks in the last phase only."""

    def fail(*args):
        raise RuntimeError("two sets\nare too many")

    monkeypatch.setattr(PAR, "refine_sets", fail)
    cfg = load_config("afa.py")
    with pytest.raises(RehearsalError) as error:
        build_runner(cfg).train()
    assert str(error.value) == (
        "Rehearsed before the first iteration, the loss of phase 'propagated' fails: RuntimeError: "
        "two sets. (Nothing has been trained; rehearse=False starts without a rehearsal.)"
    )
    monkeypatch.setattr(PAR, "weights", fail)
    with pytest.raises(RehearsalError, match="the prediction of a validation image fails: Runtime"):
        build_runner(load_config("afa.py", options={"custom_hooks.1.phases.propagated": 2})).train()


@pytest.mark.parametrize(
    ("owner", "name", "text"),
    [
        (ToyModel, "forward", "the loss fails: KeyError: 'lost'"),
        (torch.nn.Linear, "forward", r"the loss fails in model.toy_head \(ToyHead\): KeyError"),
        (torch.autograd, "grad", "the loss fails: KeyError"),
        (ToyMetric, "process", "val_evaluator, with a validation image, fails: KeyError"),
    ],
)
def test_the_sentence_names_the_part(toy_cfg, monkeypatch, owner, name, text):
    def fail(*args, **kwargs):
        raise KeyError("lost")

    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(RehearsalError, match=text):
        build_runner(toy_cfg).train()


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), OSError(28, "No space left")]
)
def test_what_the_machine_lacks_is_said_elsewhere(toy_cfg, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(ToyModel, "forward", fail)
    with pytest.raises(type(error), match=str(error).replace("[", r"\[").replace("]", r"\]")):
        build_runner(toy_cfg).train()


@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_batch_is_not_larger_than_those_of_the_run(toy_cfg, monkeypatch, batch_size):
    """Batch norm fails with one value per channel: so it would in the run."""
    toy_cfg.train_dataloader.batch_size = batch_size
    sizes, forward = [], ToyModel.forward

    def counting(model, inputs, target, mode="tensor"):
        sizes.append((mode, len(inputs)))
        return forward(model, inputs, target, mode)

    monkeypatch.setattr(ToyModel, "forward", counting)
    if batch_size == 1:
        with pytest.raises(RehearsalError, match=r"in model.toy_head .*more than 1 value per chan"):
            build_runner(toy_cfg).train()
        return
    build_runner(toy_cfg).train()
    assert sizes[:2] == [("loss", 2), ("predict", 1)]


def test_a_run_without_validation_and_a_finished_one(toy_cfg, tmp_path, monkeypatch):
    toy_cfg.val_dataloader = toy_cfg.val_cfg = toy_cfg.val_evaluator = None
    toy_cfg.default_hooks.checkpoint.save_best = None
    said = []
    monkeypatch.setattr(rehearsal_hook, "_validate", lambda *args: said.append("val"))
    monkeypatch.setattr(rehearsal_hook, "_compute_loss", lambda *args: said.append("loss"))
    _train(toy_cfg, tmp_path / "run")
    assert said == ["loss"]
    runner = build_runner(toy_cfg, resume=str(tmp_path / "run/iter_6.pth"))
    runner.train()  # nothing is left to rehearse
    assert said == ["loss"]


def test_a_compiled_model_is_rehearsed_as_it_is(toy_cfg):
    """A compiler would work for a batch that never comes again."""
    shapes = []

    def backend(graph, inputs):
        shapes.extend(value.shape[0] for value in inputs if tuple(value.shape[1:]) == (4,))
        return graph.forward

    toy_cfg.compile = dict(backend=backend, dynamic=False)
    torch._dynamo.reset()
    build_runner(toy_cfg).train()
    torch._dynamo.reset()
    assert 4 in shapes and 2 not in shapes  # images of a batch; 3 are the classes


def test_a_step_of_another_kind_is_left_alone(toy_cfg, tmp_path, monkeypatch):
    """A model with a step of its own may need more than one optimizer, or no loss mode."""
    said, step = [], ToyModel.train_step
    monkeypatch.setattr(ToyModel, "train_step", lambda *a, **kw: step(*a, **kw), raising=False)
    monkeypatch.setattr(rehearsal_hook, "_compute_loss", lambda *args: said.append("loss"))
    _train(toy_cfg, tmp_path)
    assert said == []


def test_gradients_are_not_gathered_in_a_rehearsal():
    """The network is used without its wrapper, which then averages the first step as ever."""
    torch_dist.init_process_group("gloo", store=torch_dist.HashStore(), rank=0, world_size=1)
    try:
        model = ToyModel(dict(type="ToyHead"), dropout=0.0)
        wrapped = AFADistributedDataParallel(model)
        optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        runner = SimpleNamespace(model=wrapped, optim_wrapper=optimizer)
        batch = dict(inputs=torch.rand(4, 4), target=torch.tensor([0.0, 1.0, 2.0, 1.0]))
        assert rehearsal_hook._can_rehearse_loss(runner)
        rehearsal_hook._compute_loss(runner, model, batch)
        assert all(parameter.grad is None for parameter in model.parameters())
        before = model.toy_head.linear.weight.detach().clone()
        for _ in range(2):
            wrapped.train_step(batch, optimizer)
        assert not torch.equal(before, model.toy_head.linear.weight)
    finally:
        torch_dist.destroy_process_group()
