"""Text for a person or a program: plain lines, masked addresses."""
