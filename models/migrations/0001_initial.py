"""The first schema."""


def up(migrator, db):
    from models.schema import TABLES

    db.create_tables(TABLES)
