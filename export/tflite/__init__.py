"""TFLite files: conversion, contents and metadata."""

from .convert import Quantization, to_tflite

__all__ = ["Quantization", "to_tflite"]
