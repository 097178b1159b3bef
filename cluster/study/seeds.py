"""The seeds of the screen, apart from those that confirm."""

# The seeds on which learning rates are screened, as many as are needed: none that `axes.seeds` may come to, so that
# more seeds are only more confirmations.
SCREEN_SEEDS = range(1_000_000, 1_000_010)
