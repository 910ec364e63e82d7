"""What differs between Keras 3, Keras 2 and tf_keras."""
