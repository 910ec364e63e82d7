"""Types of the domain: frozen, without TensorFlow, without templates."""
