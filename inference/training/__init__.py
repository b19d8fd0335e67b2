"""Synthetic cohorts and training. torch, onnx and scikit-learn live only here."""
