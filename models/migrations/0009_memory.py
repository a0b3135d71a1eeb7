"""Memory."""


def up(migrator, db):
    from models.memories import Memory, MemoryChunk, MemoryLink, MemoryName, MemoryVersion, MemoryWords, Vault

    db.create_tables([Vault, Memory, MemoryVersion, MemoryWords, MemoryChunk, MemoryName, MemoryLink], safe=True)
    if "vaults" not in {column.name for column in db.get_columns("tokens")}:
        db.execute_sql("ALTER TABLE tokens ADD COLUMN vaults TEXT")
