"""Chats: sessions, messages, their search, and tool calls that belong to them."""


def up(migrator, db):
    from models import text_search
    from models.calls import ToolUse
    from models.chats import ChatMessage, ChatSession

    db.create_tables([ChatSession, ChatMessage], safe=True)
    text_search.CHATS.create()
    if "session_id" not in {column.name for column in db.get_columns("tool_uses")}:
        _rebuild(db, ToolUse)


def _rebuild(db, table):
    """The places of a step may be null from now on, which SQLite cannot change in place."""
    kept = ", ".join(column.name for column in db.get_columns("tool_uses"))
    for index in db.get_indexes("tool_uses"):
        if not index.name.startswith(("sqlite_autoindex", "tool_uses_pkey")):
            db.execute_sql(f"DROP INDEX {index.name}")
    db.execute_sql("ALTER TABLE tool_uses RENAME TO tool_uses_before")
    if db.__class__.__name__ != "PooledSqliteDatabase":
        db.execute_sql("ALTER TABLE tool_uses_before DROP CONSTRAINT tool_uses_pkey")
    db.create_tables([table])
    db.execute_sql(f"INSERT INTO tool_uses ({kept}) SELECT {kept} FROM tool_uses_before")
    db.execute_sql("DROP TABLE tool_uses_before")
