"""The seeds of the screen, separate from those that confirm."""

# Learning rates are screened on the first of these seeds, as many as needed. They lie beyond any that `axes.seeds` may
# grow to, so that more seeds only add confirmations.
SCREEN_SEEDS = range(1_000_000, 1_000_010)
