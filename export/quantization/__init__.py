"""From float to integers: calibration, bias correction, and training with quantisation."""
