"""What the outputs of a network are called, and which is which: the one owner of that convention."""

MAIN = "predictions"  # the last classifier; "aux_1", ... train beside it, "exit_1", ... are the early exits


def by_name(outputs):
    return outputs if isinstance(outputs, dict) else {MAIN: outputs}


def auxiliary_names(model):
    return [n for n in model.output if n.startswith("aux_")] if isinstance(model.output, dict) else []


def backbone_of(network):
    import keras
    from keras.layers import Dropout

    makers = {id(layer.output): layer for layer in network.layers}
    layer = network.get_layer(MAIN)
    while not layer.weights:
        layer = makers[id(layer.input)]
    tensor = layer.input
    while isinstance(makers[id(tensor)], Dropout):
        tensor = makers[id(tensor)].input
    return keras.Model(network.input, tensor, name=f"{network.name}_backbone")
