"""One mail server for a room: everybody's own client delivers to it, and a page shows who has come how far."""
