"""Read tensors from untrusted safetensors, pickle, npz and JSON files."""
