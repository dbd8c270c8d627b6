"""From a trained float network to the integer file that a microcontroller runs, in the order of the steps.

layers, traced, fold, convolutions: trace the network into a plain list of layers, BatchNorm folded into convolutions.
bits: choose how many bits the weights of each layer have.
calibrate, exact: observe activations, choose scales, round weights: the integer network.
integer, arithmetic, gru, silu: that network as data, and its exact execution in torch.
devices, sets: what recording devices have of their own, in integers, and how the file holds it.
fake: train the network with the rounding of the integer network.
tflite, tflite_values, tflite_gru, buffers, tflite_float, export, nibbles: write it as a TFLite file, of integers or
    floats, or as ONNX.
graph_checks: check that what any TFLite file says, as data/flatbuffer.py opens it, fits together.
read, metadata, comparison, network_checks: read one of ours back into an integer network, and check every number of it.
runtime: run a TFLite file.
answer: make calibrated probabilities of its integer logits, and answers of these.
"""
