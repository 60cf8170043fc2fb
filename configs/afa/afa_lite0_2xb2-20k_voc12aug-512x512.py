# AFA's VOC recipe on EfficientNet-lite0, for a GPU. Not measured by us.
_base_ = [
    "../_base_/models/afa_lite0.py",
    "../_base_/datasets/voc12_aug.py",
    "../_base_/schedules/afa_voc12_20k.py",
    "../_base_/default_runtime.py",
]
model = dict(data_preprocessor=dict(size=(512, 512)), backbone=dict(frozen_stages=1))
# The attention is new, its norms too.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"attention": dict(lr_mult=10)}))
