"""What the benchmarks of the readers share: sets, peers, workers, rounds and the table."""
