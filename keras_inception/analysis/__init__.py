"""A network's cost, its table, and its saliency maps."""

from .cost import LayerCost, Total, blueprint, endpoint_costs, layer_costs, total
from .saliency import grad_cam, last_map
from .table import checkpoint_rows, described, info_table

__all__ = [
    "LayerCost",
    "Total",
    "blueprint",
    "checkpoint_rows",
    "described",
    "endpoint_costs",
    "grad_cam",
    "info_table",
    "last_map",
    "layer_costs",
    "total",
]
