"""Full-text search over runs."""


def up(migrator, db):
    from models import run_search

    run_search.create()
