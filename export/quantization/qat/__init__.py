"""Training with quantisation, pruning and clustering, on Keras 2 copies of Keras 3 networks, as TFMOT requires."""
