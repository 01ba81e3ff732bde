"""TFLite files: conversion, contents and metadata."""
