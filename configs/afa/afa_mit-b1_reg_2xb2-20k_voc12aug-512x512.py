# Published (Ru et al., CVPR 2022): the regulariser raises VOC val from 62.6 to 63.8. Not measured by us.
_base_ = "./afa_mit-b1_2xb2-20k_voc12aug-512x512.py"
model = dict(
    loss_reg=dict(type="DenseEnergyLoss", loss_weight=0.01, sigma_rgb=15.0, sigma_xy=100.0)
)
