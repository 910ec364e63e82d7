"""Where files lie: what is below a root, and the bytes of one untrusted file."""
