"""Orbax checkpoints: arrays in zarr's format, in folders or in one OCDBT database."""
