"""Web pages that show runs and start studies; Streamlit is imported inside the functions.

`launch.serve` starts the server, `entry/app.py` is the script that it runs, `pages/` holds one page
a file. What the pages read lies in `runs`, `answers`, `training`, `drafts`; what they may start and
stop in `jobs`.
"""
