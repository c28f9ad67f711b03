"""One file per report format over one set of charts."""
