"""Event files: records, their events, columns of scalars, and who wrote them."""
