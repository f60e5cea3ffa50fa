"""Automatic differentiation on whichever backend Keras runs on, from and to numpy."""

import keras
import numpy as np


def gradients(function, *arrays):
    """d sum(function(*arrays)) / d array for each array.

    Args:
        function: tensors -> tensor, made of `keras.ops`.
        arrays: float32 numpy arrays.
    Returns:
        list of numpy arrays of the arrays' shapes.
    """
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        found = jax.grad(lambda *x: function(*x).sum(), argnums=tuple(range(len(arrays))))(*arrays)
    elif backend == "torch":
        x = [keras.ops.convert_to_tensor(array).detach().requires_grad_() for array in arrays]
        function(*x).sum().backward()
        found = [tensor.grad for tensor in x]
    else:
        import tensorflow as tf

        x = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(*x)
        found = tape.gradient(y, x)
    return [np.asarray(keras.ops.convert_to_numpy(gradient)) for gradient in found]
