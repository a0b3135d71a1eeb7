"""The first schema."""

from peewee import SqliteDatabase


def up(migrator, db):
    from models.schema import TABLES

    for table in TABLES:  # only SQLite knows tables without a row id
        table._meta.without_rowid = table._meta.without_rowid and isinstance(db, SqliteDatabase)
    db.create_tables(TABLES)
