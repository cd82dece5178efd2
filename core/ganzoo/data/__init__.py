"""Data sets, and the stream of batches that training draws from them."""
