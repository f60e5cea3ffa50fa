"""What runs say: the paper's numbers, pairs of runs, statistics, tables, sentences. Nothing here imports Keras."""
