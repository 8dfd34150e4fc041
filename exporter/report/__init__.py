"""``report.html``: what a bundle is and how it was proven, as a page for people."""
