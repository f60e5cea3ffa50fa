"""Analysis of runs: the paper's numbers, pairs of runs, statistics, tables, sentences. Nothing imports Keras."""
