# Segmentation network of the multi-stage methods on Shapes: AFA's backbone and head there, trained on pseudo
# labels. In the place of ImageNet weights it begins with the backbone of the classifier.
_base_ = "../afa/supervised_mit-b0_1xb8-720it_shapes-96x96.py"
max_iters = 300
model = dict(
    backbone=dict(init_cfg=dict(type="Pretrained", checkpoint="weights/shapes_classifier.pth"))
)
# The labels that tools/random_walk.py has written; docs/pipelines.md says how to name them.
train_dataloader = dict(dataset=dict(data_prefix=dict(seg_map_path="pseudo_labels")))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=30),
    dict(type="PolyLR", eta_min=0.0, by_epoch=False, begin=30, end=max_iters + 1),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=150, save_best=None))
