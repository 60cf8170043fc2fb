# One round of SC-CAM on VOC 2012 aug: classes and sub-categories. Published (Chang et al., CVPR 2020), after three
# rounds: CAMs of 50.9 mIoU on train. Not measured by us.
_base_ = "./classifier_resnet38_4xb4-40k_voc12aug-224x224.py"
num_classes = 21
model = dict(
    type="SubCategoryClassifier",
    sub_head=dict(
        type="SubCategoryHead",
        num_classes=num_classes,
        num_sub=10,
        pooling="avg",
        loss_weight=5.0,  # lambda
        init_cfg=dict(type="Xavier", layer="Conv2d", distribution="uniform"),
    ),
)
# sub_labels: the file that tools/sub_categories.py has written; docs/pipelines.md says how to name it.
train_dataloader = dict(dataset=dict(num_sub=10, sub_labels=None))
