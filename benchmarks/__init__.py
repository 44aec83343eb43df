"""What fastmf costs and how good it is, measured on the machine at hand. See README.md."""
