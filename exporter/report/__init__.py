"""``report.html``: the model card of a bundle and its proof, as a web page."""
