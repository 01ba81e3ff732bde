"""Parity: our networks and independent implementations give the same numbers from the same weights.

    python -m tests.parity --reference-python PATH [-k inception] [--accept]

builds each row's network here and its reference there (PATH, or $KERAS_INCEPTION_REFERENCE_PYTHON, is the Python of an
environment with torch, torchvision, timm, pretrainedmodels, pytorchcv, facenet-pytorch; keras.applications runs here),
gives both the same seeded random weights, batch norm's moving statistics included, and prints one table. The measure is
the largest absolute difference of a logit, and 1e-4 the bar, in float32; as the logits must have a standard deviation
between 0.1 and 10, and move with the image, the bar is a relative one too. `--accept` records the reference's logits
in tests/goldens/parity/, from which `test_goldens.py` repeats the comparison without any reference.

A network joins by a row, not by code. Rows stand in `rows/<family file>.py`, in a list called ROWS:

    from ..row import Row

    ROWS = [
        Row("mobilenet_v2", "torchvision:mobilenet_v2", (64, 64, 3), {"numerics": "torch"}),
    ]

that is: our registry name, "library:name" of the reference, the (small) image, our arguments, the reference's. See
`Row` for the rest: `outputs` to compare auxiliary heads (as inception_v3 does), `order` where modules are executed in
another order, `registered` where only the reference's constructor has ours, `sort` where neither has, `case` to tell
apart two rows of one pair, `gain` where the logits grow or vanish, `slow` for what `make test` has no time for.

How weights find each other (`units.py`): each side is a list of units (a convolution, a dense layer, a batch norm) in
order of execution. The reference's is observed by hooks in a forward pass, or is the same graph walk for Keras. Ours is
a depth-first walk from the outputs, auxiliary ones first, inputs before their layer and in argument order. So the order
of the inputs of Concatenate, Add and Multiply decides; `order` permutes it by layer name or class. Paired units must
have the same shapes, or both lists are shown side by side. These differences are bridged exactly and need no hint: a
convolution bias that only the reference has, before a batch norm (its moving mean is shifted); a gamma that only the
reference has (1); a channels-first flatten before a dense layer (rows permuted); a dense layer against a 1x1
convolution or one that covers the map.
"""
