"""The parts of ``benchmarks/speed.py``: cases, textbook loops, peers, the machine's limits, and the report."""
