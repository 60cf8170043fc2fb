# SC-CAM on VOC 2012 aug: three rounds, then AffinityNet's stages and DeepLab-v2. Published (Chang et al., CVPR 2020):
# val 66.1, test 65.9, with CRF. Not measured by us.
_base_ = "../_base_/pipelines/sccam.py"
method = "SC-CAM"
_first = "configs/sccam/classifier_resnet38_4xb4-40k_voc12aug-224x224.py"
_classifier = "configs/sccam/subcategories_resnet38_4xb4-40k_voc12aug-224x224.py"
_affinitynet = "configs/affinitynet/affinitynet_resnet38_4xb2-10k_voc12aug-448x448.py"
_segmentation = "configs/sccam/deeplabv2_r101_1xb10-20k_voc12aug-321x321.py"
stages = [
    dict(_base_.classifier, config=_first),
    dict(_base_.clusters_1, config=_first),
    dict(_base_.round_1, config=_classifier),
    dict(_base_.clusters_2, config=_classifier),
    dict(_base_.round_2, config=_classifier),
    dict(_base_.clusters_3, config=_classifier),
    dict(_base_.round_3, config=_classifier),
    dict(_base_.cams, config=_classifier, checkpoint="{round_3.checkpoint}"),
    dict(_base_.affinity_labels, config=_classifier),
    dict(_base_.affinitynet, config=_affinitynet),
    dict(_base_.random_walk, config=_affinitynet),
    dict(_base_.pseudo_labels, config=_affinitynet),
    dict(_base_.segmentation, config=_segmentation),
    dict(_base_.test, config=_segmentation),
    dict(_base_.test_tta_crf, config=_segmentation),
]
# The same with another number of sub-categories of a class.
_with_num_sub = {
    f"k{number}": [
        dict(
            stage,
            args=["--split", "train", "--num-sub", str(number), "--seed", "0"]
            if stage["tool"] == "sub_categories.py"
            else stage.get("args", []),
            options={
                **stage.get("options", {}),
                "model.sub_head.num_sub": number,
                "train_dataloader.dataset.num_sub": number,
            }
            if stage["config"] == _classifier
            else stage.get("options", {}),
        )
        for stage in stages
    ]
    for number in (5, 20)
}
