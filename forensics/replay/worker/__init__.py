"""The replay worker: a standalone package that runs in a child process.

Standard library, numpy and TensorFlow only, relative imports only, and the syntax of Python 3.9,
so that it also runs under the interpreter that the run was trained with.
"""
