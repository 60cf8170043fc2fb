# One round of SC-CAM on Shapes: classes and three sub-categories each. In the place of ImageNet weights it
# begins with the backbone of the classifier.
_base_ = "../affinitynet/classifier_mit-b0_1xb8-380it_shapes-96x96.py"
num_classes = 7
max_iters = 190
model = dict(
    type="SubCategoryClassifier",
    backbone=dict(init_cfg=dict(type="Pretrained", checkpoint="weights/shapes_classifier.pth")),
    sub_head=dict(
        type="SubCategoryHead",
        num_classes=num_classes,
        num_sub=3,
        pooling="map",
        loss_weight=5.0,  # lambda
        bias=True,
        init_cfg=dict(type="Normal", layer="Conv2d", std=0.01, bias=-3.0),
    ),
)
# sub_labels: the file that tools/sub_categories.py has written; docs/pipelines.md says how to name it.
train_dataloader = dict(dataset=dict(num_sub=3, sub_labels=None))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=25),
    dict(
        type="LinearLR",
        start_factor=1.0,
        end_factor=0.4,
        by_epoch=False,
        begin=25,
        end=max_iters + 1,
    ),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
default_hooks = dict(checkpoint=dict(interval=95))
