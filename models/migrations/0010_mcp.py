"""MCP servers; and runs know what made their content untrusted."""


def up(migrator, db):
    from models.mcp import McpServer, McpTool
    from models.mcp_calls import McpCall
    from models.mcp_grants import McpGrant

    if "tainted" not in {column.name for column in db.get_columns("runs")}:
        db.execute_sql("ALTER TABLE runs ADD COLUMN tainted TEXT")
    db.create_tables([McpServer, McpTool, McpGrant, McpCall], safe=True)
