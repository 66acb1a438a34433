"""Several runs beside each other: what differs between them, which is better, and by how much; without Keras."""
