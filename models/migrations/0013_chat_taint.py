"""Chats know what from outside has been read in them."""


def up(migrator, db):
    if "tainted_by" not in {column.name for column in db.get_columns("chat_sessions")}:
        db.execute_sql("ALTER TABLE chat_sessions ADD COLUMN tainted_by TEXT")
