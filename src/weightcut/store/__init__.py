"""Results database and artifact folder; the only writer of results."""
