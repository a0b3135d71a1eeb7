"""MCP servers; and runs know what made their content untrusted."""


def up(migrator, db):
    from models.mcp import McpServer, McpTool
    from models.mcp_calls import McpCall
    from models.mcp_grants import McpGrant
    from models.mcp_logins import McpLogin

    known = {column.name for column in db.get_columns("runs")}
    for name, type in {"tainted": "BOOLEAN NOT NULL DEFAULT FALSE", "tainted_by": "TEXT"}.items():
        if name not in known:
            db.execute_sql(f"ALTER TABLE runs ADD COLUMN {name} {type}")
    db.create_tables([McpServer, McpTool, McpGrant, McpCall, McpLogin], safe=True)
