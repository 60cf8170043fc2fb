# DeepLab-v2 on voc12-mini, for trying without GPU: the real network with drawn weights, a small crop, few
# iterations, four photos to validate. Its figures mean nothing.
_base_ = ["./deeplabv2_r101_1xb10-20k_voc12aug-321x321.py", "../_base_/voc12_mini_4it.py"]
data_root = _base_._data_root
crop_size = _base_._crop_size
max_iters = _base_._max_iters
train_pipeline = _base_._photos_and_masks
test_pipeline = _base_._test_pipeline
model = dict(data_preprocessor=dict(size=crop_size), backbone=dict(init_cfg=None))
train_dataloader = dict(
    **_base_._train_loader, dataset=dict(data_root=data_root, pipeline=train_pipeline)
)
val_dataloader = _base_._test_loader
test_dataloader = _base_._test_loader
param_scheduler = _base_._schedule
train_cfg = dict(max_iters=max_iters, val_interval=max_iters + 1)
default_hooks = _base_._hooks
