"""What a paper needs of evaluated runs: figures, tables, a methods paragraph, references."""
