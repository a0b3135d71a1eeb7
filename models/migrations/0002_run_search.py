"""Full-text search over runs."""


def up(migrator, db):
    from models import text_search

    text_search.RUNS.create()
