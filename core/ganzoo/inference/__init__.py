"""Using trained models: loading, sampling, translating, encoding, evaluating and exporting them."""
