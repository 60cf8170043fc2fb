import torch
from toy_afa import make_afa, make_inputs, make_samples, total

from afa.testing.plain_step import plain_losses, plain_seg_loss, train_step

LABELS = [[1, 0, 1], [0, 1, 0]]
BOXES = [(0, 64, 0, 50), (10, 64, 0, 64)]


def test_losses_and_gradients_are_those_of_the_model():
    model = make_afa(backbone__drop_path_rate=0.0).train()
    model.cls_head.classifier.weight.data.mul_(10)
    inputs, labels = make_inputs(2, 64, 64), torch.tensor(LABELS).float()
    grads = []
    for losses in (
        plain_losses(model, inputs, labels, BOXES),
        model(inputs, make_samples(LABELS, BOXES), mode="loss"),
    ):
        model.zero_grad()
        total(losses).backward()
        grads.append((losses, [p.grad.clone() for p in model.parameters()]))
    (plain, plain_grads), (fast, fast_grads) = grads
    assert set(plain) == set(fast) == {"loss_cls", "loss_seg", "loss_aff"}
    for key, value in plain.items():
        torch.testing.assert_close(fast[key], value, rtol=1e-4, atol=1e-6)
    for one, other in zip(fast_grads, plain_grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-5)


def test_seg_loss_by_hand():
    logits = torch.tensor([[[[0.0, 2.0, 0.0]], [[0.0, 0.0, 0.0]]]])
    label = torch.tensor([[[0, 0, 1]]])
    log2, log_e2 = torch.log(torch.tensor(2.0)), torch.log1p(torch.exp(torch.tensor(-2.0)))
    expected = 0.5 * ((log2 + log_e2) / 2 + log2)
    torch.testing.assert_close(plain_seg_loss(logits, label), expected)
    assert plain_seg_loss(logits, torch.full((1, 1, 3), 255)) == 0  # not NaN


def test_train_step_moves_against_the_gradient():
    weight = torch.nn.Parameter(torch.tensor(2.0))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    train_step(optimizer, dict(loss_cls=weight * 3, loss_seg=weight))
    assert weight.item() == 2 - 0.5 * 4
