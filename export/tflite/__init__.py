"""TFLite files: conversion, what is inside, and what they say about themselves."""

from .convert import Quantization, to_tflite

__all__ = ["Quantization", "to_tflite"]
