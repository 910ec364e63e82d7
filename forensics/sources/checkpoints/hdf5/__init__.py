"""HDF5 files without libhdf5: the part of the format that Keras and h5py write, read strictly.

After the HDF5 File Format Specification, version 3.0, and what libhdf5 1.14 writes. libhdf5 does
not survive files that are damaged, and this process has to.
"""
