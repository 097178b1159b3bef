"""What an agent is given: tools that only read, over MCP, and a skill that teaches what may be concluded from them."""
