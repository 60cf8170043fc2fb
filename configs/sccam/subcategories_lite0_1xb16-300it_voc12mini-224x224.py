# One round of SC-CAM on voc12-mini, on EfficientNet-lite0, for a machine without GPU. Each begins with ImageNet weights.
_base_ = "../affinitynet/classifier_lite0_1xb16-300it_voc12mini-224x224.py"
num_classes = 21
model = dict(
    type="SubCategoryClassifier",
    sub_head=dict(
        type="SubCategoryHead",
        num_classes=num_classes,
        num_sub=3,
        pooling="max",
        loss_weight=5.0,  # lambda
    ),
)
train_cfg = dict(
    val_begin=_base_.max_iters + 1
)  # its CAMs are measured by the stage that writes them
# sub_labels: the file that tools/sub_categories.py has written; docs/pipelines.md says how to name it.
train_dataloader = dict(dataset=dict(num_sub=3, sub_labels=None))
