"""What family pages need beside the registry and the docstrings: a short name, and the paper's contribution."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """A paper's page: `slug`.md under `heading`, with a diagram of the network `drawn`."""

    slug: str
    heading: str
    drawn: str
    contribution: str


FAMILIES = {  # by the paper's address
    "https://doi.org/10.1109/5.726791": Family(
        "lenet",
        "LeNet",
        "lenet5",
        "Convolutions, subsampling and dense layers, trained end to end by gradient descent, read handwritten "
        "digits on cheques. Most networks here still have its order of layers.",
    ),
    "https://papers.nips.cc/paper/4824-imagenet-classification-with-deep-convolutional-neural-networks": Family(
        "alexnet",
        "AlexNet",
        "alexnet",
        "The network that won ILSVRC-2012 by ten points: ReLU in place of tanh, dropout in the dense layers, random "
        "crops and colour shifts, and training on two GPUs, which is why its convolutions have groups.",
    ),
    "https://arxiv.org/abs/1404.5997": Family(
        "alexnet_owt",
        "AlexNet for one GPU",
        "alexnet_owt",
        "A paper on training with several GPUs: data parallel in the convolutions, model parallel in the dense "
        "layers. Its network, AlexNet without groups and normalisation, is the AlexNet of most libraries.",
    ),
    "https://arxiv.org/abs/1312.4400": Family(
        "nin",
        "Network in Network",
        "nin",
        "1x1 convolutions after each convolution, a small perceptron at every pixel, and a global average pool of "
        "class maps in place of dense layers. Inception and ResNet adopted both.",
    ),
    "https://arxiv.org/abs/1311.2901": Family(
        "zfnet",
        "ZFNet",
        "zfnet",
        "A way to visualise what a layer responds to, by running the network backwards. It showed aliasing and dead "
        "filters in the first layer of AlexNet, which led to smaller kernels and strides there.",
    ),
    "https://arxiv.org/abs/1409.4842": Family(
        "inception_v1",
        "Inception v1 (GoogLeNet)",
        "inception_v1",
        "Parallel branches of different kernel sizes, with 1x1 convolutions that first reduce the channels: 22 layers "
        "with a twelfth of AlexNet's parameters. Two auxiliary classifiers add gradients in the middle.",
    ),
    "https://arxiv.org/abs/1409.1556": Family(
        "vgg",
        "VGG",
        "vgg16",
        "Only 3x3 convolutions, up to 19 layers deep: two of them have the receptive field of a 5x5, three that of a "
        "7x7, with fewer parameters. Still a common backbone where features matter more than cost.",
    ),
    "https://arxiv.org/abs/1502.03167": Family(
        "inception_v2",
        "Inception v2 (BN-Inception)",
        "inception_v2",
        "Batch normalisation: each channel is normalised to zero mean and unit variance over the batch. With it "
        "Inception v1 reached the same accuracy in a fourteenth of the steps.",
    ),
    "https://arxiv.org/abs/1512.03385": Family(
        "resnet",
        "ResNet",
        "resnet50",
        "Each block adds to its input instead of replacing it, so that gradients pass through networks of any depth: "
        "152 layers on ImageNet, where plain networks of 34 layers trained worse than those of 18.",
    ),
    "https://arxiv.org/abs/1512.00567": Family(
        "inception_v3",
        "Inception v3",
        "inception_v3",
        "Large kernels factorised, a 5x5 into two 3x3, a 7x7 into 1x7 and 7x1; grids reduced by a convolution and a "
        "pool in parallel; label smoothing; batch norm in the auxiliary head.",
    ),
    "https://arxiv.org/abs/1611.05431": Family(
        "resnext",
        "ResNeXt",
        "resnext50_32x4d",
        "Bottlenecks of many parallel paths of one shape, which is a grouped convolution. The number of paths, the "
        "cardinality, buys more accuracy than depth or width at the same cost.",
    ),
    "https://arxiv.org/abs/1603.09382": Family(
        "stochastic_depth",
        "ResNet with stochastic depth",
        "resnet110_sd",
        "Training drops whole residual blocks at random, later blocks more often, and prediction uses all of them: a "
        "shorter network in training, an ensemble in use, and 1,202 layers that still improve.",
    ),
    "https://arxiv.org/abs/1608.06993": Family(
        "densenet",
        "DenseNet",
        "densenet121",
        "Every layer of a block reads all layers before it, concatenated, and adds a few channels of its own. "
        "Features are reused instead of learnt again: few parameters for the accuracy, much memory.",
    ),
    "https://arxiv.org/abs/1605.07648": Family(
        "fractalnet",
        "FractalNet",
        "fractalnet20",
        "A very deep network without residuals: blocks of columns, each twice as deep as the next, that join in "
        "means. Drop-path trains each column as a network that can be used alone.",
    ),
    "https://arxiv.org/abs/1602.07261": Family(
        "inception_v4",
        "Inception v4 and Inception-ResNet",
        "inception_v4",
        "Inception with one kind of module for each grid size (v4), and with residual connections around the modules "
        "(Inception-ResNet), which train faster. The residual paths are scaled down, since wide ones are unstable "
        "otherwise.",
    ),
    "https://arxiv.org/abs/1602.07360": Family(
        "squeezenet",
        "SqueezeNet",
        "squeezenet1_1",
        "AlexNet's accuracy with a fiftieth of its parameters: fire modules squeeze to few channels by 1x1 and "
        "expand by parallel 1x1 and 3x3, pools come late, and no layer is dense.",
    ),
    "https://arxiv.org/abs/1603.05027": Family(
        "resnet_v2",
        "ResNet v2",
        "resnet50_v2",
        "Batch norm and ReLU precede the convolutions, so that nothing stands between one addition and the next: a "
        "signal passes unchanged from any block to any other. 1,001 layers on CIFAR and 200 on ImageNet still improve.",
    ),
    "https://arxiv.org/abs/1605.07146": Family(
        "wide_resnet",
        "Wide ResNet",
        "wide_resnet28_10",
        "Fewer and wider residual blocks, with dropout inside: 16 layers match a thin one of a thousand and train "
        "several times as fast.",
    ),
    "https://arxiv.org/abs/1610.02357": Family(
        "xception",
        "Xception",
        "xception",
        "Inception at its extreme: every channel has a branch of its own, which makes a depthwise separable "
        "convolution, with residual connections. Better than Inception v3 at its size.",
    ),
    "https://arxiv.org/abs/1707.07012": Family(
        "nasnet",
        "NASNet",
        "nasnet_mobile",
        "A search on CIFAR-10 found two cells, one that keeps the grid and one that halves it; stacked deeper and "
        "wider they transfer to ImageNet. They are trained with ScheduledDropPath.",
    ),
    "https://arxiv.org/abs/1704.04861": Family(
        "mobilenet_v1",
        "MobileNet v1",
        "mobilenet_v1",
        "A network for phones: depthwise and pointwise convolutions in place of full ones, at an eighth to a ninth of "
        "the cost, and two multipliers, of width and resolution, that trade accuracy for speed.",
    ),
    "https://arxiv.org/abs/1709.01507": Family(
        "senet",
        "SENet",
        "seresnet50",
        "A module that rescales each channel by the global average of the map. It can be added to any network for a "
        "few percent of the cost, and won ILSVRC-2017; here `se_ratio=16` adds it to most networks.",
    ),
    "https://arxiv.org/abs/1801.04381": Family(
        "mobilenet_v2",
        "MobileNet v2",
        "mobilenet_v2",
        "Inverted residuals: the shortcut connects narrow maps, and each block widens, filters depthwise, and narrows "
        "again without an activation, which would destroy information in few channels.",
    ),
    "https://arxiv.org/abs/1703.09844": Family(
        "msdnet",
        "MSDNet",
        "msdnet_cifar_budget",
        "A network that can stop early: maps of all scales from the first layer on, densely connected, so that early "
        "classifiers neither lack coarse features nor disturb the later ones.",
    ),
    "https://arxiv.org/abs/1807.11164": Family(
        "shufflenet_v2",
        "ShuffleNet v2",
        "shufflenet_v2",
        "Multiply-adds are not time. Four rules measured on real hardware (equal widths, no large groups, few "
        "fragments, few element-wise operations), and a network that follows them by splitting and shuffling channels.",
    ),
    "https://arxiv.org/abs/1707.01083": Family(
        "shufflenet_v1",
        "ShuffleNet v1",
        "shufflenet_v1",
        "Pointwise convolutions in groups, since they cost most, and a shuffle of channels between them, so that the "
        "groups exchange information.",
    ),
}
