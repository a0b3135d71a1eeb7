"""Memory."""


def up(migrator, db):
    from models.memories import Memory, MemoryChunk, MemoryLink, MemoryName, MemoryVersion, MemoryWords
    from models.memory_life import Changeset, MemoryGap, MemoryRecall, MemoryVote, RecallTests
    from models.memory_vaults import Vault

    db.create_tables([Vault, Memory, MemoryVersion, MemoryWords, MemoryChunk, MemoryName, MemoryLink], safe=True)
    db.create_tables([MemoryVote, MemoryRecall, MemoryGap, Changeset, RecallTests], safe=True)
    if "vaults" not in {column.name for column in db.get_columns("tokens")}:
        db.execute_sql("ALTER TABLE tokens ADD COLUMN vaults TEXT")
