import pytest
import torch
import torch.nn.functional as F

from afa.models.backbones.resnet38_layers import BasicBlock, BottleneckBlock, conv


def draw(block):
    """Give every weight and statistic a number of its own."""
    for value in block.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.1)
    return block.eval()


def norm(x, state, name):
    """Batch norm with fixed statistics and ReLU, as a formula."""
    mean, var, weight, bias = (
        state[f"{name}.{kind}"][:, None, None]
        for kind in ("running_mean", "running_var", "weight", "bias")
    )
    return ((x - mean) / (var + 1e-5).sqrt() * weight + bias).clamp(min=0)


@pytest.mark.parametrize("stride", [1, 2])
@torch.no_grad()
def test_basic_block_is_the_formula(stride):
    block = draw(BasicBlock(3, 5, 4, stride, (1, 2)))
    state, x = block.state_dict(), torch.randn(2, 3, 7, 6)
    activated = norm(x, state, "bn_branch2a")
    torch.testing.assert_close(block.activate(x), activated)
    branch = F.conv2d(activated, state["conv_branch2a.weight"], stride=stride, padding=1)
    branch = norm(branch, state, "bn_branch2b1")
    branch = F.conv2d(branch, state["conv_branch2b1.weight"], padding=2, dilation=2)
    # The shortcut that changes the shape starts from the activated input.
    shortcut = F.conv2d(activated, state["conv_branch1.weight"], stride=stride)
    expected = shortcut + branch
    assert expected.shape[2:] == (-(-7 // stride), -(-6 // stride))
    torch.testing.assert_close(block(x, activated), expected)


@torch.no_grad()
def test_block_of_one_shape_adds_to_its_input_itself():
    block = draw(BasicBlock(4, 2, 4))
    assert block.conv_branch1 is None
    block.conv_branch2b1.weight.zero_()
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(x, block.activate(x)), x)


@torch.no_grad()
def test_bottleneck_is_the_formula():
    block = draw(BottleneckBlock(6, 8, 4, 0.5))
    state, x = block.state_dict(), torch.randn(2, 6, 5, 6)
    activated = norm(x, state, "bn_branch2a")
    branch = F.conv2d(activated, state["conv_branch2a.weight"])
    assert branch.shape[1] == 2
    branch = norm(branch, state, "bn_branch2b1")
    branch = F.conv2d(branch, state["conv_branch2b1.weight"], padding=4, dilation=4)
    assert branch.shape[1] == 4
    branch = F.conv2d(norm(branch, state, "bn_branch2b2"), state["conv_branch2b2.weight"])
    expected = F.conv2d(activated, state["conv_branch1.weight"]) + branch
    torch.testing.assert_close(block(x, activated), expected)


def test_dropout_drops_channels_in_training_only():
    block = draw(BottleneckBlock(6, 64, 1, 0.5))
    x = torch.randn(1, 6, 3, 3)
    activated = block.activate(x)
    assert torch.equal(block(x, activated), block(x, activated))
    seen = []
    block.conv_branch2b2.register_forward_hook(lambda module, args, out: seen.append(args[0]))
    block.dropout.train()
    block(x, activated)
    dropped = (seen[0] == 0).all(dim=(2, 3)).float().mean()
    assert 0.2 < dropped < 0.8
    assert not torch.equal(block(x, activated), block(x, activated))


def test_conv_keeps_the_grid():
    x = torch.zeros(1, 2, 9, 8)
    for size, dilation in ((1, 1), (3, 1), (3, 4)):
        assert conv(2, 3, size, 1, dilation)(x).shape == (1, 3, 9, 8)
    assert conv(2, 3, 3, 2, 1)(x).shape == (1, 3, 5, 4)
