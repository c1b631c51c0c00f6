"""Read and check adapters before llama.cpp loads them."""
