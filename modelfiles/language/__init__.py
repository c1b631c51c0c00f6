"""Parse the text of a Modelfile into commands and an adapter stack."""
