"""Floor 6, inspection: what the `neurostatic` command says of files, cells, networks and costs, and new projects."""
