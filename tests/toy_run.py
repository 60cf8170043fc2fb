"""A toy model on toy data, registered as real ones are: trains in a second, on CPU."""

import sys
from pathlib import Path

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmseg.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from torch import nn

import afa.engine  # noqa: F401  registers what is tested


@TRANSFORMS.register_module()
class ToyTransform(BaseTransform):
    """Draw an input around the target: a stand-in for augmentation."""

    def __init__(self, noise=0.5):
        self.noise = noise

    def transform(self, results):
        drawn = results["target"] + self.noise * np.random.randn(4)
        return dict(inputs=torch.tensor(drawn, dtype=torch.float32), target=results["target"])


@DATASETS.register_module()
class ToyDataset(BaseDataset):
    METAINFO = dict(classes=("background", "a", "b"))

    def __init__(self, length=12, **kwargs):
        self.length = length
        super().__init__(**kwargs)

    def load_data_list(self):
        return [dict(target=float(index % 3)) for index in range(self.length)]


@MODELS.register_module()
class ToyHead(nn.Module):
    def __init__(self, num_classes=3, norm_cfg=None):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.linear = nn.Linear(4, num_classes)

    def forward(self, x):
        return self.linear(self.norm(x))


@MODELS.register_module()
class ToyModel(BaseModel):
    """`unused` gets no gradient: a phase of a real recipe leaves heads out as well."""

    def __init__(self, toy_head, dropout=0.5, data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.toy_head = MODELS.build(toy_head)
        self.dropout = nn.Dropout(dropout)
        self.unused = nn.Linear(2, 2)

    def forward(self, inputs, target, mode="tensor"):
        logits = self.toy_head(self.dropout(inputs))
        if mode == "loss":
            return dict(loss_toy=nn.functional.cross_entropy(logits.float(), target.long()))
        return list(zip(logits, target, strict=True)) if mode == "predict" else logits


@METRICS.register_module()
class ToyMetric(BaseMetric):
    default_prefix = "toy"

    def process(self, data_batch, data_samples):
        self.results += [int(logits.argmax() == target) for logits, target in data_samples]

    def compute_metrics(self, results):
        return dict(accuracy=float(np.mean(results)))


def make_cfg(work_dir, max_iters=6):
    """Return the config of a toy run."""

    def loader(sampler):
        return dict(
            batch_size=4,
            num_workers=0,
            sampler=sampler,
            collate_fn=dict(type="default_collate"),
            dataset=dict(type="ToyDataset", pipeline=[dict(type="ToyTransform", noise=0.5)]),
        )

    return Config(
        dict(
            default_scope="mmseg",
            model=dict(type="ToyModel", toy_head=dict(type="ToyHead", num_classes=3)),
            work_dir=str(work_dir),
            train_dataloader=loader(dict(type="SeededInfiniteSampler")),
            val_dataloader=loader(dict(type="DefaultSampler", shuffle=False)),
            test_dataloader=loader(dict(type="DefaultSampler", shuffle=False)),
            train_cfg=dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=3),
            val_cfg=dict(),
            test_cfg=dict(),
            val_evaluator=dict(type="ToyMetric"),
            test_evaluator=dict(type="ToyMetric"),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
            default_hooks=dict(
                logger=dict(type="LoggerHook", interval=1),
                checkpoint=dict(
                    type="CheckpointHook", interval=3, by_epoch=False, save_best="toy/accuracy"
                ),
            ),
            custom_hooks=[dict(type="ReproducibleHook")],
            log_processor=dict(type="AFALogProcessor", by_epoch=False, window_size=1),
            visualizer=dict(type="Visualizer", vis_backends=[dict(type="LocalVisBackend")]),
            randomness=dict(seed=3),
        )
    )


def losses(runner):
    """Return the losses of a run, by iteration, as the message hub keeps them."""
    history, _ = runner.message_hub.get_scalar("train/loss").data
    return [float(value) for value in history]


def write_cfg(folder, **changes):
    """Write the toy config as a file that any process can run, and return its path."""
    cfg = make_cfg(Path(folder) / "work")
    cfg.merge_from_dict(dict(custom_imports=dict(imports=["toy_run"], allow_failed_imports=False)))
    cfg.merge_from_dict(changes)
    path = Path(folder) / "toy.py"
    cfg.dump(path)
    return path


if __name__ == "__main__":
    sys.exit("toy_run is imported by the tests.")
