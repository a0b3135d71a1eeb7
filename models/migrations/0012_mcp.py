"""MCP servers."""


def up(migrator, db):
    from models.mcp import McpServer, McpTool
    from models.mcp_calls import McpCall
    from models.mcp_grants import McpGrant
    from models.mcp_logins import McpLogin

    db.create_tables([McpServer, McpTool, McpGrant, McpCall, McpLogin], safe=True)
