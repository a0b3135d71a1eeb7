"""Vaults know the model that made their vectors, so that another one begins anew."""


def up(migrator, db):
    if "embedder" not in {column.name for column in db.get_columns("memory_vaults")}:
        db.execute_sql("ALTER TABLE memory_vaults ADD COLUMN embedder TEXT")
