"""From a trained float network to the file of integers that a microcontroller runs, in the order of the steps.

fold: trace the network into a plain list of layers, BatchNorm folded into the convolutions.
calibrate: observe activations, choose scales, round weights: the integer network.
integer: that network as data, and its exact execution in torch.
tflite: write it as a TFLite file.
runtime: run such a file.
"""
