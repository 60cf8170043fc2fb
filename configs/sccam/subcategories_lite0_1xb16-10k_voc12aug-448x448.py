# One round of SC-CAM on VOC 2012 aug, on EfficientNet-lite0, for a GPU. Each begins with ImageNet weights. Not measured
# by us.
_base_ = "../affinitynet/classifier_lite0_1xb16-10k_voc12aug-448x448.py"
num_classes = 21
model = dict(
    type="SubCategoryClassifier",
    sub_head=dict(
        type="SubCategoryHead",
        num_classes=num_classes,
        num_sub=10,
        pooling="max",
        loss_weight=5.0,  # lambda
    ),
)
# sub_labels: the file that tools/sub_categories.py has written; docs/pipelines.md says how to name it.
train_dataloader = dict(dataset=dict(num_sub=10, sub_labels=None))
