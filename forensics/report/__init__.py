"""A finished report as HTML, JSON, Markdown and terminal text. Nothing here computes a finding."""
