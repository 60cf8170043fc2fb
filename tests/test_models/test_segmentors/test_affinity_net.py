"""AffinityNet on a backbone of three convolutions."""

import socket
from contextlib import nullcontext
from itertools import pairwise

import pytest
import torch
import torch.distributed as torch_dist
import torch.multiprocessing as mp
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn
from toy_processes import be_process

from afa.engine.dist import AFADistributedDataParallel, init_dist
from afa.models import AffinityNet
from afa.models.functional import pair_label
from afa.models.losses import pair_affinity_loss
from plain_random_walk import plain_random_walk


@MODELS.register_module()
class ThreeLevels(nn.Module):
    """Three convolutions; all levels at stride 4."""

    def __init__(self):
        super().__init__()
        sizes = (3, 4, 5, 6)
        self.convs = nn.ModuleList(
            nn.Conv2d(wide, narrow, 3, stride=4 if wide == 3 else 1, padding=1)
            for wide, narrow in pairwise(sizes)
        )

    def forward(self, x):
        levels = []
        for conv in self.convs:
            x = conv(x).relu()
            levels.append(x)
        return tuple(levels)


def _model(**changes):
    torch.manual_seed(0)
    head = dict(type="FeatureAffinityHead", in_channels=(4, 5, 6), channels=(2, 3, 4), radius=3)
    cfg = dict(type="AffinityNet", backbone=dict(type="ThreeLevels"), affinity_head=head)
    return MODELS.build({**cfg, **changes})


def _batch(label_maps):
    inputs = torch.randn(4, 3, 32, 24, generator=torch.Generator().manual_seed(0))
    samples = []
    for label_map in label_maps:
        sample = SegDataSample()
        sample.gt_sem_seg = PixelData(data=label_map[None])
        samples.append(sample)
    return inputs[: len(samples)], samples


def _label_maps():
    """Four of different content: much background, all neutral, two classes, little known."""
    maps = torch.zeros(4, 32, 24, dtype=torch.long)
    maps[0, 8:16, 8:20] = 1
    maps[1] = 255
    maps[2, :, :12], maps[2, :, 12:] = 2, 1
    maps[3] = 255
    maps[3, 4:12, 4:12], maps[3, 20:28, :16] = 0, 3
    return maps


def test_registered():
    assert isinstance(_model(), AffinityNet)


def test_loss_is_that_of_the_labels_at_the_grid():
    model = _model()
    inputs, samples = _batch(_label_maps())
    losses = model(inputs, samples, mode="loss")
    assert list(losses) == ["loss_aff"]
    label = pair_label(_label_maps(), (8, 6), model.affinity_head.offsets)
    distances = model.affinity_head.distances(model.extract_feat(inputs))
    assert {0, 1, 2, 255} == set(label.unique().tolist())
    torch.testing.assert_close(losses["loss_aff"], pair_affinity_loss(distances, label))


def test_training_makes_regions_apart():
    model = _model()
    inputs, samples = _batch(_label_maps()[:1])
    inputs[0, :, 8:16, 8:20] += 2
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    first = None
    for _ in range(30):
        loss = model(inputs, samples, mode="loss")["loss_aff"]
        first = first or loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first
    label = pair_label(_label_maps()[:1], (8, 6), model.affinity_head.offsets)
    affinity = model.affinity(inputs)
    assert affinity[label == 2].mean() > affinity[label == 0].mean() + 0.2


def test_the_backbone_learns():
    model = _model()
    model(*_batch(_label_maps()), mode="loss")["loss_aff"].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize("value", [0, 2, 255])
def test_label_maps_of_one_kind_are_finite(value):
    model = _model()
    inputs, samples = _batch(torch.full((2, 32, 24), value))
    loss = model(inputs, samples, mode="loss")["loss_aff"]
    loss.backward()
    assert loss.isfinite() and (value != 255 or loss.item() == 0)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_equal_features_of_unequal_labels_are_finite():
    model = _model()
    _, samples = _batch(_label_maps()[2:3])
    nn.init.zeros_(model.affinity_head.fuse.weight)
    loss = model(torch.zeros(1, 3, 32, 24), samples, mode="loss")["loss_aff"]
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_an_input_of_one_token():
    model = _model()
    sample = SegDataSample()
    sample.gt_sem_seg = PixelData(data=torch.zeros(1, 1, 1, dtype=torch.long))
    loss = model(torch.randn(1, 3, 1, 1), [sample], mode="loss")["loss_aff"]
    loss.backward()
    assert loss.item() == 0
    maps = torch.rand(1, 2, 1, 1)
    assert torch.equal(model.propagate(maps, model.affinity(torch.randn(1, 3, 1, 1))), maps)


def test_propagate_is_the_random_walk():
    model = _model(beta=4, num_steps=16)
    inputs, maps = torch.randn(2, 3, 32, 24), torch.rand(2, 3, 8, 6)
    with torch.no_grad():
        affinity = model.affinity(inputs)
    assert affinity.shape == (2, 12, 8, 6)
    plain = plain_random_walk(maps, affinity, model.affinity_head.offsets, 4, 16)
    assert (model.propagate(maps, affinity) - plain).abs().max() < 1e-5


def test_published_constants():
    model = _model()
    assert (model.beta, model.num_steps) == (8, 2**8)


def test_predict_and_tensor_give_the_affinity():
    model = _model().eval()
    inputs = torch.randn(2, 3, 32, 24)
    with torch.no_grad():
        affinity = model(inputs, mode="tensor")
        samples = model(inputs, [SegDataSample(), SegDataSample()], mode="predict")
        fresh = model(inputs, mode="predict")
        assert torch.equal(model.encode_decode(inputs, None), affinity)
    for i in range(2):
        assert torch.equal(samples[i].pred_affinity, affinity[i])
        assert torch.equal(fresh[i].pred_affinity, affinity[i])


def test_without_label_maps():
    with pytest.raises(ValueError, match=r"needs a label map.*LoadAnnotations"):
        _model()(torch.randn(1, 3, 32, 24), [SegDataSample()], mode="loss")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(beta=0), "beta must be above 0 .* got 0 and 256"),
        (dict(num_steps=-1), "num_steps 0 or more, got 8.0 and -1"),
    ],
)
def test_wrong_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        _model(**changes)


def _gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def _gradient_of_one_process(rank, port, folder):
    be_process(rank, port)
    init_dist("pytorch", timeout=120)
    model = AFADistributedDataParallel(module=_model(), device_ids=[rank])
    inputs, samples = _batch(_label_maps())
    part = slice(2 * rank, 2 * rank + 2)
    model(inputs[part], samples[part], mode="loss")["loss_aff"].backward()
    torch.save(_gradients(model.module), f"{folder}/{rank}.pt")
    torch_dist.destroy_process_group()


def test_two_processes_have_the_gradients_of_one_with_both_batches(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_gradient_of_one_process, args=(port, str(tmp_path)), nprocs=2)
    model = _model()
    inputs, samples = _batch(_label_maps())
    model(inputs, samples, mode="loss")["loss_aff"].backward()
    wanted = _gradients(model)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, wanted[name], rtol=1e-4, atol=1e-6)

    # Averaging what each process would compute alone is something else.
    alone = []
    for part in (slice(0, 2), slice(2, 4)):
        model.zero_grad()
        model(inputs[part], samples[part], mode="loss")["loss_aff"].backward()
        alone.append(_gradients(model)["affinity_head.fuse.weight"])
    gap = (sum(alone) / 2 - wanted["affinity_head.fuse.weight"]).abs().max()
    assert gap > 0.01 * wanted["affinity_head.fuse.weight"].abs().max()


def test_a_step_asks_a_gpu_for_no_value(monkeypatch):
    """Tensors on the device "meta" have no values: whoever asks for one gets an error."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())
    inputs, samples = _batch(torch.zeros(2, 32, 24, dtype=torch.int64))
    model = _model().train().to("meta")
    losses = model.loss(inputs.to("meta"), [sample.to("meta") for sample in samples])
    sum(losses.values()).backward()
    assert model.affinity_head.fuse.weight.grad is not None
