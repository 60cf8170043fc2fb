import shutil

import pytest
import torch
from toy_afa import make_afa, make_inputs, make_samples, total
from toy_run import ToyModel

from afa.engine import compile_parts as module
from afa.engine.compile_parts import compile_parts
from afa.engine.runner import build_runner

LABELS = [[1, 0, 1], [0, 1, 0]]


@pytest.fixture
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def test_a_compiled_step_gives_the_same_losses_and_gradients(fresh_compiler):
    plain, compiled = make_afa().train(), make_afa().train()
    captured = []

    def backend(graph, inputs):
        captured.append(len(graph.graph.nodes))
        return graph.forward

    names = compile_parts(compiled, dict(backend=backend))
    assert names == ["backbone", "cls_head", "decode_head", "affinity_head"]
    assert list(plain.state_dict()) == list(compiled.state_dict())
    for model in (plain, compiled):
        total(model.loss(make_inputs(), make_samples(LABELS))).backward()
    assert sum(captured) > 200  # the networks did go through the compiler
    for (name, one), other in zip(plain.named_parameters(), compiled.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-7), name


def test_evaluation_is_not_compiled(fresh_compiler):
    """Photos of many sizes would each be compiled anew, until torch gives up on the module."""
    model, captured = make_afa(), []
    compile_parts(model, dict(backend=lambda graph, inputs: captured.append(1) or graph.forward))
    model.eval()
    with torch.no_grad():
        for side in range(32, 64, 2):
            model.predict(make_inputs(1, side, 40))
    assert not captured
    model.train().backbone(make_inputs())
    assert captured


@pytest.mark.parametrize("options", [None, False])
def test_nothing_is_compiled_unasked(options):
    model = make_afa()
    assert compile_parts(model, options) == [] and model.backbone._compiled_call_impl is None


@pytest.mark.parametrize("options", [dict(modus="x"), dict(mode="fastest"), dict(backend="x")])
def test_what_torch_does_not_take_is_refused(options):
    with pytest.raises(ValueError, match=r"is not what torch\.compile takes"):
        compile_parts(make_afa(), options)


def test_without_a_compiler_it_says_so_at_the_start(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler .* install one, or leave"):
        compile_parts(make_afa(), True)
    monkeypatch.setattr(module, "has_triton", lambda: False)
    with pytest.raises(ValueError, match="needs Triton on a GPU"):
        module._check_compiler(torch.device("cuda"))


def test_the_runner_compiles_parts_and_not_the_step(toy_cfg, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "afa.engine.runner.compile_parts",
        lambda model, options: seen.append((type(model), options)) or ["backbone"],
    )
    toy_cfg.compile = dict(mode="default")
    runner = build_runner(toy_cfg)
    runner.train()
    assert seen == [(ToyModel, dict(mode="default"))]
    assert "compile" not in runner.cfg and "train_step" not in vars(runner.model)
