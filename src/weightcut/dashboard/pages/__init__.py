"""One page a file, each with `show(run, place)`: the folder of the chosen run, and of all runs."""

PAGES = (
    ("overview", "Overview", ":material/scatter_plot:"),
    ("compare", "Compare", ":material/compare_arrows:"),
    ("samples", "Samples", ":material/data_object:"),
    ("run", "Run", ":material/play_circle:"),
    ("train", "Train", ":material/show_chart:"),
    ("router", "Router", ":material/alt_route:"),
    ("hardware", "Hardware", ":material/memory:"),
)
"""Module, title, icon."""
