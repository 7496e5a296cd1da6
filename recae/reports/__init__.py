"""Comparisons as people and scripts read them: tables, texts, sentences, a page."""
