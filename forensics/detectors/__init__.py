"""What can go wrong with a training run, one pathology per file."""
