"""The page: a study as one self-contained HTML file, and its plots as SVG."""
