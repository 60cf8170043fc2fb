"""Two processes must compute the gradient of one process with both batches."""

import socket

import torch
import torch.distributed as torch_dist
import torch.multiprocessing as mp
from toy_afa import gradients, make_afa, make_inputs, make_samples, total
from toy_processes import be_process

from afa.engine.dist import AFADistributedDataParallel, init_dist

LABELS = [[1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 1, 1]]
BOXES = [(0, 32, 0, 48), (0, 32, 0, 48), (8, 24, 0, 20), (0, 16, 4, 30)]


def _model():
    """No randomness and no batch statistics: what is left must agree."""
    model = make_afa(loss_reg=dict(type="DenseEnergyLoss", energy_weight=1e-3)).eval()
    model.cls_head.classifier.weight.data.mul_(10)
    return model


def _batch(part):
    return make_inputs(4, 32, 48)[part], make_samples(LABELS[part], BOXES[part])


def _gradient_of_one_process(rank, port, folder):
    be_process(rank, port)
    init_dist("pytorch", timeout=120)
    model = AFADistributedDataParallel(module=_model(), device_ids=[rank])
    inputs, samples = _batch(slice(2 * rank, 2 * rank + 2))
    losses = model(inputs, samples, mode="loss")
    total(losses).backward()
    made = model.module.make_labels(
        inputs, torch.stack([s.gt_label for s in samples]), [s.img_box for s in samples]
    )
    result = dict(
        gradients=gradients(model.module),
        losses={key: value.item() for key, value in losses.items()},
        num_known=int((made["propagated"] != 255).sum()),
    )
    torch.save(result, f"{folder}/{rank}.pt")
    torch_dist.destroy_process_group()


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _off(gradient, wanted):
    """Largest difference, relative to the largest gradient of the parameter.

    The largest gradient of all is 0.8. Where terms of that size cancel (bias of the affinity: 1e-4)
    or hardly anything arrives (queries of near uniform attention: 1e-10), what float32 rounds off
    counts, so that such parameters must agree to 1e-8.
    """
    return float((gradient - wanted).abs().max() / wanted.abs().max().clamp(min=1e-3))


def test_two_processes_have_the_gradients_of_one_with_both_batches(tmp_path):
    mp.spawn(_gradient_of_one_process, args=(_free_port(), str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert first["num_known"] > 1.5 * second["num_known"] > 0  # the counts differ

    model = _model()
    losses = model(*_batch(slice(0, 4)), mode="loss")
    total(losses).backward()
    wanted = gradients(model)
    assert set(first["gradients"]) == set(second["gradients"]) == set(wanted)
    for result in (first, second):
        for name, gradient in result["gradients"].items():
            assert _off(gradient, wanted[name]) < 1e-5, name
    for key, value in losses.items():
        mean = (first["losses"][key] + second["losses"][key]) / 2
        assert abs(mean - value.item()) < 1e-5 * abs(value.item()), key

    # Averaging what each process would compute alone is something else.
    alone = []
    for part in (slice(0, 2), slice(2, 4)):
        model.zero_grad()
        total(model(*_batch(part), mode="loss")).backward()
        alone.append(gradients(model))
    for name in ("decode_head.conv_seg.weight", "affinity_head.proj.weight"):
        assert _off((alone[0][name] + alone[1][name]) / 2, wanted[name]) > 1e-2
