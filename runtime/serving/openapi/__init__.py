"""The description of the server's HTTP interface."""
