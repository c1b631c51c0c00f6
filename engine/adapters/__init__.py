"""Reading and checking adapters before llama.cpp sees them."""
